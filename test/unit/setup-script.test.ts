import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";

import { makeLibtorch } from "../helpers/fake-libtorch.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

function setUp(env: NodeJS.ProcessEnv): { status: number | null; stderr: string } {
  return spawnSync(process.execPath, ["scripts/setup.mjs"], { cwd: root, env, encoding: "utf8" });
}

/** A PATH on which only Node is found. */
function nodeOnly(t: ExecutionContext): string {
  const folder = join(temporaryFolder(t), "bin");
  mkdirSync(folder);
  symlinkSync(process.execPath, join(folder, "node"));
  return folder;
}

test("set-up with a wrong LIBTORCH stops with the folder, the reason and the way out", (t) => {
  const { status, stderr } = setUp({ ...process.env, LIBTORCH: "/nowhere/libtorch" });
  t.is(status, 1);
  t.regex(stderr, /^error: LIBTORCH=\/nowhere\/libtorch does not exist\.$/m);
  t.regex(stderr, /^hint: Point LIBTORCH at a folder .*`unset LIBTORCH`/m);
  t.notRegex(stderr, /at .*\.mjs:\d+/);
});

test("set-up for another libtorch without a compiler stops before it touches the addon that stands", (t) => {
  const folder = temporaryFolder(t);
  const { status, stderr } = setUp({
    PATH: nodeOnly(t),
    HOME: folder,
    LIBTORCH: makeLibtorch(join(folder, "libtorch"), "2.12.0"),
  });
  t.is(status, 1);
  t.regex(stderr, /^error: cmake is not on PATH/m);
});

test("set-up with neither libtorch nor pip nor a network says all that it looked at", (t) => {
  const folder = temporaryFolder(t);
  const env = { PATH: nodeOnly(t), HOME: folder, STEADYTUNE_LIBTORCH_URL: "http://127.0.0.1:9/libtorch.zip" };
  const { status, stderr } = setUp(env);
  t.is(status, 1);
  for (const line of [
    "LIBTORCH: not set",
    `cache: ${folder}/.cache/steadytune/libtorch holds none`,
    "python: python3 is not on PATH",
  ]) {
    t.true(stderr.includes(line), line);
  }
  t.regex(stderr, /^error: libtorch 2\.15\.0 could not be fetched \(pip: python3 is not on PATH; official archive: /m);
});
