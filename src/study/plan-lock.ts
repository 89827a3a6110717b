import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LockedError } from "../errors.js";
import { lockFile, type Lock } from "../files/lock.js";

/** Whoever writes the manifest of a study holds this lock, for no longer than that takes. */
export async function lockPlan(folder: string): Promise<Lock> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await lockFile(join(folder, ".plan.lock"), folder);
    } catch (error) {
      if (!(error instanceof LockedError) || attempt === 100) throw error;
      await sleep(100);
    }
  }
}
