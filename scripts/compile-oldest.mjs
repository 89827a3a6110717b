// `node scripts/compile-oldest.mjs`: compiles the addon against the oldest libtorch that is supported and opens it
// there. No test runs. The libtorch has a cache of its own, so that nothing else takes it into use.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { addonSources, compileInto, hashFiles } from "./setup/addon.mjs";
import { compiled } from "./setup/libtorch.mjs";
import { installPackages } from "./setup/packages.mjs";
import { root } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";
import { note, say, showBytes, since } from "./setup/terminal.mjs";
import { checkTools } from "./setup/tools.mjs";
import { compileTypeScript } from "./setup/typescript.mjs";

const folder = join(root, "build-oldest");
const recordPath = join(folder, "compiled.json");

await main(async () => {
  const start = performance.now();
  await installPackages();
  await compileTypeScript({ tests: false });
  const { supportedTorch, torchMinor } = await compiled("native/libtorch.js");
  const wanted = { torch: `${supportedTorch.oldest}.0`, sources: hashFiles(addonSources) };
  if (existsSync(recordPath) && readFileSync(recordPath, "utf8") === JSON.stringify(wanted)) return;

  checkTools();
  const { cacheFolder } = await compiled("native/cache-folder.js");
  const { fetchLibtorch } = await compiled("native/fetch/fetch-libtorch.js");
  const libtorch = await fetchLibtorch({
    version: wanted.torch,
    cuda: false,
    env: { ...process.env, STEADYTUNE_CACHE: join(cacheFolder(), "oldest") },
    report: (progress) => (progress.type === "note" ? note(progress.text) : showBytes(progress)),
  });
  // STEADYTUNE_LIBTORCH_URL may name the archive of another version.
  if (torchMinor(libtorch.version) !== supportedTorch.oldest) {
    throw new SetupError(
      `libtorch ${wanted.torch} was asked for, and ${libtorch.version} came.`,
      "Unset STEADYTUNE_LIBTORCH_URL, or name the archive of that version.",
    );
  }

  rmSync(recordPath, { force: true });
  await compileInto(folder, { libtorch, tests: false });
  const { preload } = await compiled("native/load.js");
  for (const name of ["libc10.so", "libtorch_cpu.so"]) preload(join(libtorch.root, "lib", name));
  const { builtForTorch } = createRequire(import.meta.url)(join(folder, "Release/steadytune.node")).info();
  writeFileSync(recordPath, JSON.stringify(wanted));
  say("addon", `compiled for libtorch ${builtForTorch} and opened there, ${since(start)}`);
});
