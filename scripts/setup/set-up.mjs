import { existsSync } from "node:fs";
import { join } from "node:path";
import { stderr } from "node:process";

import { buildAddon } from "./addon.mjs";
import { compiled, provideLibtorch } from "./libtorch.mjs";
import { installPackages } from "./packages.mjs";
import { root } from "./run.mjs";
import { SetupError } from "./setup-error.mjs";
import { printError, say, since } from "./terminal.mjs";
import { compileTypeScript } from "./typescript.mjs";

const oldestNode = "20.19";

/**
 * Everything between a clone (or an installed package) and a working addon; each step skips what stands. Throws
 * SetupError or one of the compiled code's own errors, with a hint.
 */
export async function setUp({ tests = false, prebuilt = true } = {}) {
  const start = performance.now();
  checkNode();
  stderr.write("steadytune set-up\n");
  // An installed package comes compiled, and npm has installed what it needs.
  if (existsSync(join(root, "src"))) {
    await installPackages();
    await compileTypeScript({ tests });
  }
  const { checkPlatform } = await compiled("native/platform.js");
  checkPlatform();
  const { libtorch, fetched } = await provideLibtorch();
  const built = await buildAddon({ libtorch, tests, prebuilt });
  if (fetched || built) {
    const { loadAddon } = await compiled("native/load.js");
    const { version, instructionSet } = loadAddon().info();
    say("check", `the addon loads: steadytune ${version}, ${instructionSet} kernels`);
  }
  say("ready", `libtorch ${libtorch.version} (${libtorch.source}), ${since(start)}`);
}

/** Runs the rest of a script; on failure prints the message and the hint, and exits with code 1. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof SetupError || typeof error.code === "string") printError(error);
    else printError({ message: error.stack ?? String(error) });
    process.exitCode = 1;
  }
}

function checkNode() {
  if (process.versions.node.localeCompare(oldestNode, "en", { numeric: true }) >= 0) return;
  throw new SetupError(
    `Node.js is ${process.versions.node}, and ${oldestNode} or newer is needed.`,
    "Install a current one, for instance with nvm: `nvm install 22`.",
  );
}
