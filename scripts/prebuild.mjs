// `npm run prebuild`: puts the addon into prebuilds/torch-<minor>/linux-x64/, where the loader looks first.
// Another folder than prebuilds/ can be named: `npm run prebuild -- FOLDER`.
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { compiled, provideLibtorch } from "./setup/libtorch.mjs";
import { root } from "./setup/run.mjs";
import { main, setUp } from "./setup/set-up.mjs";
import { say } from "./setup/terminal.mjs";

// prebuildify spawns node-gyp, and takes the name of another program for it.
process.env.PREBUILD_NODE_GYP = fileURLToPath(new URL("./node-gyp-shim.mjs", import.meta.url));

await main(async () => {
  await setUp({ prebuilt: false });
  const { libtorch } = await provideLibtorch();
  const { torchMinor } = await compiled("native/libtorch.js");
  // prebuildify moves the addon out of the build folder that it works in; it gets one of its own.
  const work = join(root, "build/prebuild");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const prebuildify = promisify(createRequire(import.meta.url)("prebuildify"));
  await prebuildify({ cwd: work, name: "steadytune", napi: true, strip: true, targets: [process.versions.node] });

  const target = join(resolve(process.argv[2] ?? join(root, "prebuilds")), `torch-${torchMinor(libtorch.version)}`);
  const { makeFolder } = await compiled("files/atomic.js");
  await makeFolder(dirname(target));
  rmSync(target, { recursive: true, force: true });
  const made = join(work, "prebuilds");
  for (const platform of readdirSync(made)) {
    cpSync(join(root, "build/Release/steadytune.json"), join(made, platform, "steadytune.json"));
  }
  cpSync(made, target, { recursive: true });
  rmSync(work, { recursive: true, force: true });
  say("prebuild", target);
});
