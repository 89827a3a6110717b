import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import test from "ava";
import { OutputError } from "#src/errors.js";
import { asOutputError, makeFolder, recoverFolder, replaceFolder, writeFileAtomic } from "#src/files/atomic.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

test("a file is replaced as a whole and nothing is left beside it", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "state.json");
  await writeFileAtomic(path, "one");
  await writeFileAtomic(path, Buffer.from("two"));
  t.is(await readFile(path, "utf8"), "two");
  t.deepEqual(await readdir(folder), ["state.json"]);
});

test("a file can be written piece by piece", async (t) => {
  const path = join(temporaryFolder(t), "pieces");
  await writeFileAtomic(path, pieces());
  t.is(await readFile(path, "utf8"), "one two three");

  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const piece of ["one ", "two ", "three"]) yield Buffer.from(piece);
  }
});

test("when its content fails half-way, the old file stays and nothing is left beside it", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "file");
  await writeFileAtomic(path, "old");
  await t.throwsAsync(writeFileAtomic(path, pieces()), { message: "no more" });
  t.is(await readFile(path, "utf8"), "old");
  t.deepEqual(await readdir(folder), ["file"]);

  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("new");
    throw new Error("no more");
  }
});

test("a path that cannot be written is an OutputError that names it and says why", async (t) => {
  const folder = temporaryFolder(t);
  await writeFile(join(folder, "file"), "");
  for (const [path, reason] of [
    [join(folder, "none/file"), "its folder does not exist"],
    [join(folder, "file/file"), "a part of its path is a file"],
    ["/proc/steadytune", "its folder does not exist"],
  ] as const) {
    const error = await t.throwsAsync(writeFileAtomic(path, "x"), { instanceOf: OutputError, code: "ERR_OUTPUT" });
    t.is(error.message, `${path} cannot be written: ${reason}.`);
  }
  await t.throwsAsync(makeFolder(join(folder, "file/folder")), { instanceOf: OutputError, message: /is a file/ });
});

test("a full disk and a refused permission are told as such; other errors stay what they are", (t) => {
  const system = (code: string): Error => Object.assign(new Error(code), { code, syscall: "write" });
  t.is((asOutputError(system("ENOSPC"), "/x") as OutputError).message, "/x cannot be written: the disk is full.");
  t.is((asOutputError(system("EACCES"), "/x") as OutputError).message, "/x cannot be written: permission is denied.");
  t.true((asOutputError(system("ENEW"), "/x") as OutputError).message.includes("ENEW"));
  const other = new TypeError("x");
  t.is(asOutputError(other, "/x"), other);
});

test("on a disk that is really full the old file stays and nothing is left beside it", async (t) => {
  const folder = temporaryFolder(t);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    t.log("skipped: a small file system can only be mounted by root");
    t.pass();
    return;
  }
  try {
    await writeFileAtomic(join(folder, "file"), "old");
    const error = await t.throwsAsync(writeFileAtomic(join(folder, "file"), Buffer.alloc(100_000)), {
      instanceOf: OutputError,
    });
    t.regex(error.message, /the disk is full/);
    t.deepEqual(await readdir(folder), ["file"]);
    t.is(await readFile(join(folder, "file"), "utf8"), "old");
  } finally {
    execFileSync("umount", [folder]);
  }
});

const fill = (value: string) => async (folder: string) => writeFile(join(folder, value), value);

test("a folder is replaced as a whole, with nothing of the old one in it", async (t) => {
  const parent = temporaryFolder(t);
  const target = join(parent, "runs/best");
  await replaceFolder(target, fill("old"));
  await replaceFolder(target, fill("new"));
  t.deepEqual(await readdir(target), ["new"]);
  t.deepEqual(await readdir(join(parent, "runs")), ["best"]);
});

test("when building the new folder fails, the old one stays and nothing is left beside it", async (t) => {
  const parent = temporaryFolder(t);
  const target = join(parent, "best");
  await replaceFolder(target, fill("old"));
  const build = async (folder: string): Promise<void> => {
    await fill("new")(folder);
    throw new RangeError("no more");
  };
  await t.throwsAsync(replaceFolder(target, build), { instanceOf: RangeError });
  t.deepEqual(await readdir(target), ["old"]);
  t.deepEqual(await readdir(parent), ["best"]);
});

test("a replacement that was cut off between its two renames is ended by the next look", async (t) => {
  const parent = temporaryFolder(t);
  const target = join(parent, "best");
  await replaceFolder(target, fill("old"));
  await mkdir(join(parent, ".best.complete"));
  await fill("new")(join(parent, ".best.complete"));
  await rename(target, join(parent, ".best.previous"));
  await recoverFolder(target);
  t.deepEqual(await readdir(target), ["new"]);
  t.deepEqual(await readdir(parent), ["best"]);
});

test("what a killed build has left behind is removed, that of a living process is not", async (t) => {
  const parent = temporaryFolder(t);
  const ended = spawn("true");
  await once(ended, "exit");
  await mkdir(join(parent, `.best.partial-${ended.pid}-0`));
  await mkdir(join(parent, `.best.partial-${process.ppid}-0`));
  await replaceFolder(join(parent, "best"), fill("new"));
  t.deepEqual((await readdir(parent)).sort(), [`.best.partial-${process.ppid}-0`, "best"]);
});

test("killed at any instant, a folder is whole: the old one or the new one", async (t) => {
  t.timeout(120_000);
  const target = join(temporaryFolder(t), "best");
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [
      fileURLToPath(new URL("../helpers/replace-child.js", import.meta.url)),
      target,
    ]);
    await once(child.stdout, "data");
    await sleep(5 * round);
    child.kill("SIGKILL");
    await once(child, "exit");
    await recoverFolder(target);
    t.deepEqual((await readdir(target)).sort(), ["first", "second"]);
    t.is(await readFile(join(target, "first"), "utf8"), await readFile(join(target, "second"), "utf8"));
  }
});

test("a folder that can never be made is an error, also where Node's recursive mkdir would not return", async (t) => {
  const message = "/proc/nowhere/deeper cannot be made: what stands above it takes no new folders.";
  await t.throwsAsync(makeFolder("/proc/nowhere/deeper"), { instanceOf: OutputError, message });
  await t.throwsAsync(replaceFolder("/proc/nowhere/deeper/best", fill("new")), { instanceOf: OutputError });
  const made = join(temporaryFolder(t), "a/b/c");
  await Promise.all([makeFolder(made), makeFolder(made)]);
  t.deepEqual(await readdir(made), []);
});
