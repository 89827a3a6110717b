import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { root, run } from "./run.mjs";
import { SetupError } from "./setup-error.mjs";
import { say, since } from "./terminal.mjs";

/** Compiles src/ to dist/ and, with `tests`, test/ to dist-test/; tsc skips what has not changed. */
export async function compileTypeScript({ tests }) {
  const start = performance.now();
  // tsc trusts its notes, which lie beside dist/, and would not write again what somebody deleted.
  if (!existsSync(join(root, "dist"))) rmSync(join(root, "tsconfig.tsbuildinfo"), { force: true });
  removeOrphans("dist", "src");
  if (tests) removeOrphans("dist-test", "test");
  const code = await run(process.execPath, ["node_modules/typescript/bin/tsc", "-b", ...(tests ? ["test"] : [])]);
  if (code !== 0)
    throw new SetupError("The TypeScript sources do not compile.", "See the messages above: `npm run typecheck`.");
  if (performance.now() - start > 2000) say("TypeScript", `compiled in ${since(start)}`);
}

/** tsc never deletes what it wrote: a test whose source is gone would go on running. */
function removeOrphans(output, sources) {
  if (!existsSync(join(root, output))) return;
  for (const name of readdirSync(join(root, output), { recursive: true })) {
    const stem = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(name)?.[1];
    if (stem === undefined || existsSync(join(root, sources, `${stem}.ts`))) continue;
    rmSync(join(root, output, name), { force: true });
  }
}
