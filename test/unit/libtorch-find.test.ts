import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";

import { NativeError } from "#src/errors.js";
import { findLibtorch, isSupportedTorch, manifestName, requireLibtorch, torchMinor } from "#src/native/libtorch.js";
import { makeLibtorch, writeTree } from "../helpers/fake-libtorch.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

/** An environment in which no source finds anything. */
function emptyEnv(folder: string): NodeJS.ProcessEnv {
  mkdirSync(join(folder, "bin"), { recursive: true });
  return { PATH: join(folder, "bin"), HOME: folder, STEADYTUNE_CACHE: join(folder, "cache") };
}

function makeCacheEntry(cache: string, name: string, version: string): string {
  const entry = join(cache, "libtorch", name);
  const root = makeLibtorch(join(entry, "torch"), version);
  const libraries = { "lib/libtorch_cpu.so": `libtorch_cpu of ${version}`.length };
  writeFileSync(join(entry, manifestName), JSON.stringify({ version, cuda: false, root: "torch", libraries }));
  return root;
}

test("LIBTORCH comes before the cache and python3", (t) => {
  const folder = temporaryFolder(t);
  const root = makeLibtorch(join(folder, "mine"), "2.13.1");
  makeCacheEntry(join(folder, "cache"), "2.15.0-cpu", "2.15.0");
  const { chosen, candidates } = findLibtorch({ env: { ...emptyEnv(folder), LIBTORCH: root } });
  t.deepEqual(chosen, { root, version: "2.13.1", source: "LIBTORCH", cuda: false });
  t.deepEqual(
    candidates.map(({ source }) => source),
    ["LIBTORCH", "cache", "python", "pip", "archive"],
  );
  t.regex(candidates[1]?.outcome ?? "", /LIBTORCH comes first/);
});

test("the cache comes before python3, its pinned version before others", (t) => {
  const folder = temporaryFolder(t);
  makeCacheEntry(join(folder, "cache"), "2.14.0-cpu", "2.14.0");
  const root = makeCacheEntry(join(folder, "cache"), "2.15.0-cpu", "2.15.0");
  const { chosen, candidates } = findLibtorch({ env: emptyEnv(folder) });
  t.deepEqual(chosen, { root, version: "2.15.0", source: "cache", cuda: false });
  t.is(candidates[0]?.outcome, "not set");
});

test("the torch of python3 is found without importing it, and not in the current folder", (t) => {
  const folder = temporaryFolder(t);
  const root = makeLibtorch(join(folder, "packages/torch"), "2.12.0");
  writeTree(root, { "__init__.py": "raise RuntimeError('imported')\n" });
  const env = { ...emptyEnv(folder), PATH: process.env.PATH, PYTHONPATH: join(folder, "packages") };
  const { chosen } = findLibtorch({ env });
  t.deepEqual(chosen, { root, version: "2.12.0", source: "python", cuda: false });
});

test("a torch of python3 outside the supported range is passed over with its version", (t) => {
  const folder = temporaryFolder(t);
  makeLibtorch(join(folder, "packages/torch"), "2.4.1");
  const env = { ...emptyEnv(folder), PATH: process.env.PATH, PYTHONPATH: join(folder, "packages") };
  const { chosen, candidates } = findLibtorch({ env });
  t.is(chosen, null);
  t.is(candidates[2]?.outcome, "is torch 2.4.1; supported are 2.11 to 2.15");
});

test("without any, the error says what was looked at and which command helps", (t) => {
  const folder = temporaryFolder(t);
  const error = t.throws(() => requireLibtorch({ env: emptyEnv(folder) }), { instanceOf: NativeError });
  t.is(error?.code, "ERR_LIBTORCH_NOT_FOUND");
  t.regex(error?.message ?? "", /LIBTORCH: not set; cache: .*holds none; python: python3 is not on PATH/);
  t.regex(error?.hint ?? "", /npm run setup/);
});

test("LIBTORCH set but wrong is an error even where the cache holds one", (t) => {
  const folder = temporaryFolder(t);
  makeCacheEntry(join(folder, "cache"), "2.15.0-cpu", "2.15.0");
  const env = { ...emptyEnv(folder), LIBTORCH: join(folder, "nowhere") };
  t.is(findLibtorch({ env }).chosen, null);
  const error = t.throws(() => requireLibtorch({ env }), { instanceOf: NativeError });
  t.is(error?.code, "ERR_LIBTORCH_NOT_FOUND");
  t.is(error?.message, `LIBTORCH=${join(folder, "nowhere")} does not exist.`);
});

test("LIBTORCH one folder off is answered with the right one", (t) => {
  const folder = temporaryFolder(t);
  const root = makeLibtorch(join(folder, "unpacked/libtorch"), "2.15.0");
  for (const wrong of [join(folder, "unpacked"), join(root, "lib")]) {
    const error = t.throws(() => requireLibtorch({ env: { ...emptyEnv(folder), LIBTORCH: wrong } }));
    t.is((error as NativeError).hint, `Did you mean LIBTORCH=${root}?`);
  }
});

test("LIBTORCH of a version that is not supported is refused by its number", (t) => {
  const folder = temporaryFolder(t);
  const root = makeLibtorch(join(folder, "old"), "2.10.0");
  const error = t.throws(() => requireLibtorch({ env: { ...emptyEnv(folder), LIBTORCH: root } }), {
    instanceOf: NativeError,
  });
  t.is(error?.code, "ERR_LIBTORCH_VERSION");
  t.regex(error?.message ?? "", /is torch 2\.10\.0; supported are 2\.11 to 2\.15/);
});

test("a libtorch archive says its version in build-version, others in a header", (t) => {
  const folder = temporaryFolder(t);
  const root = makeLibtorch(join(folder, "archive"), "2.15.0");
  rmSync(join(root, "version.py"));
  writeTree(root, { "build-version": "2.14.1+cpu\n" });
  const find = (): string | undefined => findLibtorch({ env: { ...emptyEnv(folder), LIBTORCH: root } }).chosen?.version;
  t.is(find(), "2.14.1");
  rmSync(join(root, "build-version"));
  t.is(find(), undefined);
  writeTree(root, { "include/torch/headeronly/version.h": '#define TORCH_VERSION "2.13.0"\n' });
  t.is(find(), "2.13.0");
});

test("a damaged cache entry is passed over, and said", (t) => {
  const folder = temporaryFolder(t);
  const root = makeCacheEntry(join(folder, "cache"), "2.15.0-cpu", "2.15.0");
  writeFileSync(join(root, "lib/libtorch_cpu.so"), "half");
  const { chosen, candidates } = findLibtorch({ env: emptyEnv(folder) });
  t.is(chosen, null);
  t.regex(candidates[1]?.outcome ?? "", /is damaged \(lib\/libtorch_cpu\.so has 4 bytes instead of \d+\)/);
});

test("an entry that was not finished is no entry", (t) => {
  const folder = temporaryFolder(t);
  makeLibtorch(join(folder, "cache/libtorch/.unpacking/torch"), "2.15.0");
  makeLibtorch(join(folder, "cache/libtorch/2.15.0-cpu/torch"), "2.15.0");
  t.false(existsSync(join(folder, "cache/libtorch/2.15.0-cpu", manifestName)));
  t.is(findLibtorch({ env: emptyEnv(folder) }).chosen, null);
});

test("supported versions are compared as numbers, and local parts do not matter", (t) => {
  t.is(torchMinor("2.15.0+cu132"), "2.15");
  t.is(torchMinor("2.15.0a0"), "2.15");
  t.is(torchMinor("main"), null);
  t.deepEqual(["2.9.1", "2.10.2", "2.11.0", "2.15.3", "2.16.0", "3.0.0"].map(isSupportedTorch), [
    false,
    false,
    true,
    true,
    false,
    false,
  ]);
});
