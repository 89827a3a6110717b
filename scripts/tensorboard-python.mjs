// A Python with TensorBoard, for the test that its reader reads what steadytune writes:
//   node scripts/tensorboard-python.mjs    prints the path of its python
import { pathToFileURL } from "node:url";

import { pythonVenv } from "./python-venv.mjs";
import { main } from "./setup/set-up.mjs";

/** @returns {Promise<string>} the path of its python, made once in steadytune's cache */
export function tensorboardPython() {
  return pythonVenv("tensorboard", [["tensorboard==2.21.0"]]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await main(async () => console.log(await tensorboardPython()));
}
