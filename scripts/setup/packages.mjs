import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { root, run } from "./run.mjs";
import { SetupError } from "./setup-error.mjs";
import { note, say, since } from "./terminal.mjs";

/** Installs the npm packages of a clone unless node_modules holds exactly those of package-lock.json. */
export async function installPackages() {
  const start = performance.now();
  const difference = differenceFromLock(
    readLock(join(root, "package-lock.json")),
    readLock(join(root, "node_modules/.package-lock.json")),
  );
  if (difference === null) return;
  note(`npm ci (${difference})`);
  const code = await run("npm", ["ci", "--no-audit", "--no-fund"]).catch((error) => {
    throw new SetupError(`npm does not run: ${error.message}`, "Install npm; it comes with Node.js.");
  });
  if (code !== 0) {
    throw new SetupError(
      `\`npm ci\` failed with exit code ${code}; its message stands above.`,
      "Check the network and `npm config get registry`, then run the same command again.",
    );
  }
  say("npm packages", `installed in ${since(start)}`);
}

function readLock(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).packages : null;
}

/** What node_modules lacks of the lock file, in words; null when nothing. npm leaves out optional ones of other platforms. */
export function differenceFromLock(locked, installed) {
  if (installed === null) return "node_modules is missing";
  for (const [path, { version, integrity, optional, devOptional }] of Object.entries(locked)) {
    if (path === "") continue;
    const found = installed[path];
    if (found === undefined && (optional || devOptional)) continue;
    const name = path.replace(/^.*node_modules\//, "");
    if (found === undefined) return `${name} is missing`;
    if (found.version !== version || found.integrity !== integrity) return `${name} is not ${version}`;
  }
  return null;
}
