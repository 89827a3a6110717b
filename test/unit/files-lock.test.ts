import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { LockedError, OutputError } from "#src/errors.js";
import { isLocked, lockFolder } from "#src/files/lock.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

/** A process that tries to lock the folder; resolves when it has said how that went. */
async function locker(
  t: ExecutionContext,
  folder: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ child: ChildProcessWithoutNullStreams; said: string }> {
  const program = fileURLToPath(new URL("../helpers/lock-child.js", import.meta.url));
  const child = spawn(process.execPath, [program, folder], { env: { ...process.env, ...env } });
  t.teardown(() => child.kill("SIGKILL"));
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return { child, said: said.toString().trim() };
}

test("a folder is made, locked once, and free again after its release", async (t) => {
  const folder = join(temporaryFolder(t), "runs/rte");
  const lock = await lockFolder(folder);
  const error = await t.throwsAsync(lockFolder(folder), { instanceOf: LockedError, code: "ERR_LOCKED" });
  t.is(error.message, `${folder} is in use by this process, which already works there.`);
  await lock.release();
  await lock.release();
  t.deepEqual(await readdir(folder), []);
  {
    await using again = await lockFolder(folder);
    t.is(again.path, join(folder, ".lock"));
  }
  t.deepEqual(await readdir(folder), []);
});

test("another process that holds the lock is named by its pid", async (t) => {
  const folder = temporaryFolder(t);
  const { child, said } = await locker(t, folder);
  t.is(said, "locked");
  const error = await t.throwsAsync(lockFolder(folder), { instanceOf: LockedError });
  t.is(error.message, `${folder} is in use by process ${child.pid}.`);
  t.true(error.hint?.includes(join(folder, ".lock")));
  child.stdin.end();
  await once(child, "exit");
  await (await lockFolder(folder)).release();
});

test("whether a folder is locked can be told without locking it", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, ".lock");
  t.false(await isLocked(path));
  const { child } = await locker(t, folder);
  t.true(await isLocked(path));
  t.deepEqual(await readdir(folder), [".lock"]);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.false(await isLocked(path), "its holder is gone");
});

test("the lock of a process that was killed is taken over", async (t) => {
  const folder = temporaryFolder(t);
  const { child } = await locker(t, folder);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.deepEqual(await readdir(folder), [".lock"]);
  const lock = await lockFolder(folder);
  t.is((JSON.parse(await readFile(lock.path, "utf8")) as { pid: number }).pid, process.pid);
  await lock.release();
  t.deepEqual(await readdir(folder), []);
});

test("of many processes that find the lock of a dead one, exactly one takes it", async (t) => {
  t.timeout(60_000);
  const folder = temporaryFolder(t);
  const { child } = await locker(t, folder);
  child.kill("SIGKILL");
  await once(child, "exit");
  const contenders = await Promise.all(Array.from({ length: 6 }, () => locker(t, folder)));
  const said = contenders.map((contender) => contender.said).sort();
  t.deepEqual(said, ["LockedError", "LockedError", "LockedError", "LockedError", "LockedError", "locked"]);
});

/** Leaves a lock behind that was changed in some way. */
async function leaveLock(folder: string, change: Record<string, unknown>, ageMs = 0): Promise<void> {
  const lock = await lockFolder(folder);
  const holder = JSON.parse(await readFile(lock.path, "utf8")) as Record<string, unknown>;
  await lock.release();
  await writeFile(lock.path, JSON.stringify({ ...holder, ...change }));
  const then = new Date(Date.now() - ageMs);
  await utimes(lock.path, then, then);
}

test("a pid that now belongs to another process does not keep a lock alive", async (t) => {
  const folder = temporaryFolder(t);
  await leaveLock(folder, { startTime: "1" });
  await t.notThrowsAsync(async () => (await lockFolder(folder)).release());
});

test("a lock from another machine holds while it shows signs of life, and is taken over after", async (t) => {
  const folder = temporaryFolder(t);
  const elsewhere = { machine: "another boot pid:[1]", host: "node17", pid: 1 };
  await leaveLock(folder, elsewhere, 60_000);
  const error = await t.throwsAsync(lockFolder(folder), { instanceOf: LockedError });
  t.is(error.message, `${folder} is in use by process 1 on node17.`);
  await rm(join(folder, ".lock"));
  await leaveLock(folder, elsewhere, 180_000);
  await t.notThrowsAsync(async () => (await lockFolder(folder)).release());
});

test("a lock file without sense holds for the moment in which it may be half written, and no longer", async (t) => {
  const folder = temporaryFolder(t);
  for (const text of ["", "{", "3", '{"pid": 1}']) {
    await writeFile(join(folder, ".lock"), text);
    await t.throwsAsync(lockFolder(folder), { instanceOf: LockedError, message: /in use by another process/ });
    const then = new Date(Date.now() - 20_000);
    await utimes(join(folder, ".lock"), then, then);
    await t.notThrowsAsync(async () => (await lockFolder(folder)).release());
  }
});

test("a takeover that was cut off does not block the next one for ever", async (t) => {
  const folder = temporaryFolder(t);
  await leaveLock(folder, { startTime: "1" });
  await writeFile(join(folder, ".lock.takeover"), "");
  const then = new Date(Date.now() - 20_000);
  await utimes(join(folder, ".lock.takeover"), then, then);
  await (await lockFolder(folder)).release();
  t.deepEqual(await readdir(folder), []);
});

test("a folder that cannot be written is an OutputError", async (t) => {
  const folder = temporaryFolder(t);
  await writeFile(join(folder, "file"), "");
  await t.throwsAsync(lockFolder(join(folder, "file")), { instanceOf: OutputError });
  await t.throwsAsync(lockFolder("/proc"), { instanceOf: OutputError });
});

for (const code of ["EPERM", "ENOSYS", "EOPNOTSUPP"]) {
  test(`storage without hard links (${code}) is locked all the same`, async (t) => {
    const place = temporaryFolder(t);
    const [source, library, folder] = ["link.c", "link.so", "run"].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(
      source,
      `#include <errno.h>\nint link(const char* a, const char* b) { errno = ${code}; return -1; }\n`,
    );
    execFileSync("gcc", ["-shared", "-fPIC", "-o", library, source]);
    const [one, two] = await Promise.all([0, 1].map(() => locker(t, folder, { LD_PRELOAD: library })));
    t.deepEqual([one?.said, two?.said].sort(), ["LockedError", "locked"]);
    const holder = one?.said === "locked" ? one : two;
    holder?.child.kill("SIGKILL");
    await once(holder!.child, "exit");
    const third = await locker(t, folder, { LD_PRELOAD: library });
    t.is(third.said, "locked", "the lock of one that was killed is taken over");
    third.child.stdin.end();
    await once(third.child, "exit");
    t.deepEqual(await readdir(folder), []);
  });
}
