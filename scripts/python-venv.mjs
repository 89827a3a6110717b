// A Python environment with given packages, made once in steadytune's cache:
//   node scripts/python-venv.mjs NAME [pip install's arguments]    prints the path of its python
import { createHash } from "node:crypto";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { compiled } from "./setup/libtorch.mjs";
import { run } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";
import { SetupError } from "./setup/setup-error.mjs";

/**
 * The path of a python that has the packages. Each inner list of `installs` is one call of `pip install`; another list
 * gives another environment.
 *
 * @param {string} name
 * @param {string[][]} installs
 */
export async function pythonVenv(name, installs) {
  const { cacheFolder } = await compiled("native/cache-folder.js");
  const { makeFolder } = await compiled("files/atomic.js");
  const digest = createHash("sha256").update(JSON.stringify(installs)).digest("hex").slice(0, 8);
  const folder = join(cacheFolder(), "venvs", `${name}-${digest}`);
  const python = join(folder, "bin/python");
  // Written last: an environment without it was cut off half-way. (A venv knows its own path, so it cannot be renamed.)
  const complete = join(folder, "steadytune-complete");
  if (existsSync(complete)) return python;
  rmSync(folder, { recursive: true, force: true });
  await makeFolder(folder);
  if ((await run("python3", ["-m", "venv", folder])) !== 0) {
    throw new SetupError(
      "`python3 -m venv` failed; its message stands above.",
      "On Debian: `sudo apt-get install python3-venv`.",
    );
  }
  for (const args of installs) {
    if ((await run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...args])) === 0)
      continue;
    throw new SetupError(
      `\`pip install ${args.join(" ")}\` failed; its message stands above.`,
      "Check the network and `python3 -m pip config list`.",
    );
  }
  writeFileSync(complete, "");
  return python;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [name, ...packages] = process.argv.slice(2);
  await main(async () => {
    if (name === undefined) throw new SetupError("A name is missing.", "node scripts/python-venv.mjs NAME PACKAGE...");
    console.log(await pythonVenv(name, packages.length === 0 ? [] : [packages]));
  });
}
