#!/usr/bin/env node
// Stands in for node-gyp when prebuildify calls `node-gyp rebuild`, in a folder of scripts/prebuild.mjs: the addon is
// built by cmake-js, which set-up has just done, so its file only has to be there.
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";

import { root } from "./setup/run.mjs";

const target = join(process.cwd(), "build/Release");
mkdirSync(target, { recursive: true });
for (const name of ["steadytune.node", "steadytune.json"])
  cpSync(join(root, "build/Release", name), join(target, name));
