import { setTimeout as sleep } from "node:timers/promises";

import { LockedError } from "../../errors.js";
import type { Lock } from "../../files/lock.js";

const pollMs = 500;

/** Takes a lock, and where another process holds it waits until that lets go; `onWait` is told once whom it waits for. */
export async function waitForLock(take: () => Promise<Lock>, onWait: (holder: string) => void): Promise<Lock> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await take();
    } catch (error) {
      if (!(error instanceof LockedError)) throw error;
      if (attempt === 0) onWait(error.message);
      await sleep(pollMs);
    }
  }
}
