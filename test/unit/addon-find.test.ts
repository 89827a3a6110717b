import { mkdirSync } from "node:fs";
import { join } from "node:path";
import test from "ava";

import { NativeError } from "#src/errors.js";
import { findAddon, listAddons } from "#src/native/load.js";
import { writeTree } from "../helpers/fake-libtorch.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const libtorch = { root: "/opt/libtorch", version: "2.15.0", source: "LIBTORCH" } as const;

function writeAddon(root: string, folder: string, torch: string, name = "steadytune.node"): string {
  const record = JSON.stringify({ version: "0.1.0", torch, sources: "abc" });
  writeTree(join(root, folder), { [name]: "not opened", "steadytune.json": record });
  return join(root, folder, name);
}

test("a prebuilt addon for libtorch's minor version comes before the one in build/", (t) => {
  const root = temporaryFolder(t);
  const built = writeAddon(root, "build/Release", "2.15.0");
  writeAddon(root, "prebuilds/torch-2.14/linux-x64", "2.14.0");
  t.is(findAddon(libtorch, root).path, built);
  const prebuilt = writeAddon(root, "prebuilds/torch-2.15/linux-x64", "2.15.0");
  t.is(findAddon(libtorch, root).path, prebuilt);
  t.is(findAddon({ ...libtorch, version: "2.15.1" }, root).path, prebuilt);
  t.is(listAddons(root).length, 3);
});

test("prebuilt addons for another C library or platform are not chosen", (t) => {
  const root = temporaryFolder(t);
  writeAddon(root, "prebuilds/torch-2.15/linux-x64", "2.15.0", "steadytune.musl.node");
  writeAddon(root, "prebuilds/torch-2.15/darwin-arm64", "2.15.0");
  t.deepEqual(listAddons(root), []);
});

test("an addon built for another libtorch is refused before it is opened, naming both versions", (t) => {
  const root = temporaryFolder(t);
  writeAddon(root, "build/Release", "2.12.1");
  const error = t.throws(() => findAddon(libtorch, root), { instanceOf: NativeError });
  t.is(error?.code, "ERR_LIBTORCH_VERSION");
  t.is(
    error?.message,
    "The addon was built for libtorch 2.12.1, but the libtorch in use (LIBTORCH, /opt/libtorch) is 2.15.0.",
  );
  t.regex(error?.hint ?? "", /npm run setup/);
});

test("no addon at all, and one that does not say what it was built for, are told apart", (t) => {
  const root = temporaryFolder(t);
  mkdirSync(join(root, "build/Release"), { recursive: true });
  const none = t.throws(() => findAddon(libtorch, root), { instanceOf: NativeError });
  t.is(none?.code, "ERR_ADDON");
  t.regex(none?.message ?? "", /The addon is not built/);
  writeTree(join(root, "build/Release"), { "steadytune.node": "" });
  t.regex(t.throws(() => findAddon(libtorch, root))?.message ?? "", /has no steadytune\.json beside it/);
});
