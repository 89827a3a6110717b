// Checks the C++ sources against .clang-format, or with --write formats them. clang-format comes from pip: its output
// differs between versions, so everybody uses this one.
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";

import { pythonVenv } from "./python-venv.mjs";
import { root, run } from "./setup/run.mjs";
import { main } from "./setup/set-up.mjs";

const version = "clang-format==20.1.8";

await main(async () => {
  const python = await pythonVenv("clang-format", [[version]]);
  const files = ["binding", "test/core", "test/cuda"]
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)))
    .filter((name) => /\.(h|cpp|cu|cuh)$/.test(name));
  const args = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "--Werror"];
  process.exitCode = await run(join(dirname(python), "clang-format"), [...args, ...files]);
});
