// A Python with torch and transformers, for the checks that compare with them or let them load what steadytune saved:
//   node scripts/transformers-python.mjs    prints the path of its python
import { pathToFileURL } from "node:url";

import { pythonVenv } from "./python-venv.mjs";
import { main } from "./setup/set-up.mjs";

/** About 6 GB with the CUDA libraries that torch's wheel links, which it cannot be imported without. */
const packages = ["torch==2.15.0", "transformers==5.23.0", "accelerate==1.15.0"];

/** @returns {Promise<string>} the path of its python, made once in steadytune's cache */
export function transformersPython() {
  return pythonVenv("transformers", [packages]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await main(async () => console.log(await transformersPython()));
}
