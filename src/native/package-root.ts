import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of package.json: a clone, or `node_modules/steadytune`. */
export const packageRoot = fileURLToPath(new URL("../..", import.meta.url));

/** What a reader types to fetch libtorch and build the addon: a clone has its sources, an installed package has not. */
export const setupCommand = existsSync(join(packageRoot, "src")) ? "npm run setup" : "npx steadytune-setup";
