import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { cacheFolder } from "../../dist/native/cache-folder.js";
import { run } from "../setup/run.mjs";
import { SetupError } from "../setup/setup-error.mjs";

/** What the Trainer runs on; torch is the version that steadytune is built for, with all its dependencies. */
const packages = ["torch==2.15.0", "transformers==5.23.0", "accelerate==1.15.0"];

/** A Python with transformers, made in the cache once: about 6 GB with the libraries that torch's wheel links. */
export async function pythonWithTransformers() {
  const folder = join(cacheFolder(), "bench", packages.join("-").replaceAll("==", "-"));
  const python = join(folder, "bin/python");
  const done = join(folder, "complete");
  if (existsSync(done)) return python;
  await rm(folder, { recursive: true, force: true });
  await step(
    "python3",
    ["-m", "venv", folder],
    "Install the venv module of python3 (Debian: apt install python3-venv).",
  );
  await step(python, ["-m", "pip", "install", ...packages], "Or name a Python that has them: --python PATH.");
  await writeFile(done, "");
  return python;
}

async function step(command, args, hint) {
  const line = [command, ...args].join(" ");
  const code = await run(command, args).catch((error) => error.message);
  if (code !== 0) throw new SetupError(`\`${line}\` failed (${code}).`, hint);
}
