import { randomBytes } from "node:crypto";
import { constants, copyFile, link, readFile, readlink, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LockedError } from "../errors.js";
import { asOutputError, makeFolder } from "./atomic.js";

/** How often a holder touches its lock, and after how long without a touch another machine may take it over. */
const heartbeatMs = 15_000;
const silenceMs = 120_000;
/** Writing a lock file and taking one over last a few system calls; what stands half done for this long was cut off. */
const cutOffMs = 10_000;

export interface Lock extends AsyncDisposable {
  readonly path: string;
  /** Lets go; calling it again does nothing. */
  release(): Promise<void>;
}

/**
 * Who holds a lock. A pid alone is not enough: pids are used again after a kill, after a restart of the machine, and in
 * every container.
 */
interface Holder {
  id: string;
  pid: number;
  /** Start of the process in clock ticks since boot (field 22 of /proc/PID/stat). */
  startTime: string;
  /** The running kernel and the pid namespace: only where these are equal do pids mean the same. */
  machine: string;
  host: string;
}

/**
 * Takes the folder (made when missing) for this process, by a file `.lock` inside it. The lock of a process that is
 * gone is taken over: at once when it ran on this machine, and after two minutes without a sign of life when it ran
 * elsewhere on a shared file system.
 *
 * @throws LockedError when another process, or another run in this one, is at work in the folder.
 * @throws OutputError when the folder cannot be written.
 */
export async function lockFolder(folder: string): Promise<Lock> {
  await makeFolder(folder);
  return lockFile(join(folder, ".lock"), folder);
}

/** The same by a lock file of any name; `what` is what the message of the LockedError calls locked. */
export async function lockFile(path: string, what = path): Promise<Lock> {
  const target = resolve(path);
  const self = await currentHolder();
  const own = join(dirname(target), `${basename(target)}.${self.id}`);
  try {
    await writeFile(own, JSON.stringify(self), { flag: "wx" });
    try {
      await acquire(target, own, what);
    } finally {
      await rm(own, { force: true });
    }
  } catch (error) {
    throw asOutputError(error, path);
  }
  return hold(target, self);
}

/**
 * Whether a living process holds the lock at `path`. Writes nothing, so that it also works where one may only read; a
 * holder on another machine counts as alive until its last touch is two minutes old by this machine's clock.
 */
export async function isLocked(path: string): Promise<boolean> {
  const target = resolve(path);
  const holder = await readHolder(target);
  if (holder === "gone") return false;
  if (holder?.machine === (await currentMachine())) return (await startTime(holder.pid)) === holder.startTime;
  const touched = await stat(target).catch(() => null);
  return touched !== null && Date.now() - touched.mtimeMs < (holder === null ? cutOffMs : silenceMs);
}

async function acquire(target: string, own: string, what: string): Promise<void> {
  for (;;) {
    // link, unlike open("wx"), makes the name and its content appear together.
    if (await linkUnlessThere(own, target)) return;
    const holder = await readHolder(target);
    if (holder === "gone") continue;
    if (await isAlive(holder, target, own)) throw lockedError(what, target, holder);
    await takeOver(target, own, holder);
  }
}

/** Puts `own` in the place of a dead holder's lock; returns without doing so when somebody else was quicker. */
async function takeOver(target: string, own: string, dead: Holder | null): Promise<void> {
  const claim = `${target}.takeover`;
  if (!(await linkUnlessThere(own, claim))) {
    const age = await ageMs(claim, own);
    if (age !== null && age > cutOffMs) await rm(claim, { force: true });
    else await sleep(20);
    return;
  }
  try {
    const now = await readHolder(target);
    if (now !== "gone" && now?.id === dead?.id) await unlink(target);
  } finally {
    await rm(claim, { force: true });
  }
}

function hold(target: string, self: Holder): Lock {
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(target, now, now).catch(() => {});
  }, heartbeatMs);
  heartbeat.unref();
  let released: Promise<void> | null = null;
  const release = (): Promise<void> =>
    (released ??= (async () => {
      clearInterval(heartbeat);
      const holder = await readHolder(target);
      // Not ours any more when this process was stopped for so long that another machine took over.
      if (holder !== "gone" && holder?.id === self.id) await rm(target, { force: true });
    })());
  return { path: target, release, [Symbol.asyncDispose]: release };
}

async function linkUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to).catch((error: NodeJS.ErrnoException) => {
      // File systems without hard links: the content comes after the name, which `isAlive` allows for.
      if (error.code === "EPERM" || error.code === "ENOTSUP") return copyFile(from, to, constants.COPYFILE_EXCL);
      throw error;
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** "gone" when there is no such file, null when its content is not a lock's. */
async function readHolder(path: string): Promise<Holder | "gone" | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "gone";
    throw error;
  }
  try {
    const value = JSON.parse(text) as Partial<Holder> | null;
    if (typeof value?.id !== "string" || typeof value.pid !== "number" || typeof value.machine !== "string")
      return null;
    return { startTime: "", host: "", ...value } as Holder;
  } catch {
    return null;
  }
}

async function isAlive(holder: Holder | null, target: string, own: string): Promise<boolean> {
  if (holder?.machine === (await currentMachine())) return (await startTime(holder.pid)) === holder.startTime;
  const silence = await ageMs(target, own);
  return silence !== null && silence < (holder === null ? cutOffMs : silenceMs);
}

/** How much older `path` is than now by the clock of the file system that holds both files; null when it is gone. */
async function ageMs(path: string, own: string): Promise<number | null> {
  try {
    const then = (await stat(path)).mtimeMs;
    const probe = `${own}.now`;
    await writeFile(probe, "");
    const now = (await stat(probe)).mtimeMs;
    await rm(probe, { force: true });
    return now - then;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

async function currentHolder(): Promise<Holder> {
  return {
    id: randomBytes(8).toString("hex"),
    pid: process.pid,
    startTime: (await startTime(process.pid)) ?? "",
    machine: await currentMachine(),
    host: hostname(),
  };
}

async function currentMachine(): Promise<string> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
  return `${boot.trim()} ${await readlink("/proc/self/ns/pid")}`;
}

/** Null when there is no such process, or it is dead and only waits for its parent to notice. */
async function startTime(pid: number): Promise<string | null> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, "latin1");
    // The second field, the program's name, may hold blanks and parentheses.
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    const state = fields[0];
    return state === "Z" || state === "X" ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}

function lockedError(what: string, target: string, holder: Holder | null): LockedError {
  const here = holder?.host === hostname();
  let who = "another process";
  if (holder !== null) who = here ? `process ${holder.pid}` : `process ${holder.pid} on ${holder.host}`;
  if (here && holder.pid === process.pid) who = "this process, which already works there";
  return new LockedError(`${what} is in use by ${who}.`, {
    hint: `Wait for it to end or stop it; if no such process is at work, remove ${target}.`,
  });
}
