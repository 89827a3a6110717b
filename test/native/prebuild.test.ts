import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

import { requireLibtorch, torchMinor } from "#src/native/libtorch.js";
import type { NativeInfo } from "#src/native/types.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("the package runs from prebuilds/torch-<minor>/linux-x64 with no build folder", (t) => {
  const folder = temporaryFolder(t);
  const { version } = requireLibtorch();
  const prebuild = spawnSync(process.execPath, ["scripts/prebuild.mjs", join(folder, "prebuilds")], {
    cwd: root,
    encoding: "utf8",
  });
  t.is(prebuild.status, 0, prebuild.stderr);
  t.deepEqual(readdirSync(join(folder, `prebuilds/torch-${torchMinor(version)}/linux-x64`)), [
    "steadytune.json",
    "steadytune.node",
  ]);

  for (const name of ["package.json", "dist"]) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  t.false(existsSync(join(folder, "build")));
  const script = `
    import { loadAddon } from "./dist/native/load.js";
    import { readFileSync } from "node:fs";
    const addon = /\\S+\\.node$/m.exec((loadAddon(), readFileSync("/proc/self/maps", "utf8")))[0];
    console.log(JSON.stringify({ addon, ...loadAddon().info() }));
  `;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: folder, encoding: "utf8" });
  t.is(run.status, 0, run.stderr);
  const info = JSON.parse(run.stdout) as NativeInfo & { addon: string };
  t.is(info.addon, join(folder, `prebuilds/torch-${torchMinor(version)}/linux-x64/steadytune.node`));
  t.is(torchMinor(info.builtForTorch), torchMinor(version));
});
