import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { recipeNames } from "#src/config/file.js";
import type { ResolvedConfig } from "#src/config/schema.js";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

async function resolved(...args: string[]): Promise<ResolvedConfig> {
  const { code, stdout, stderr } = await steadytune(["config", ...args]);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as ResolvedConfig;
}

test("flags go on top of recipes, and --set on top of flags", async (t) => {
  const folder = temporaryFolder(t);
  const mine = join(folder, "mine.json");
  writeFileSync(mine, JSON.stringify({ batchSize: 8, optimizer: { eps: 1e-7 }, evaluations: 4 }));
  const config = await resolved(
    ...["--recipe", "mosbach", "--recipe", mine, "--batch-size", "4", "--steps", "9"],
    ...["--set", "evaluations=2", "--set", "methods.0.lambda=0.5"],
  );
  t.like(config, { batchSize: 4, steps: 9, evaluations: 2, dropout: 0.1 });
  t.like(config.optimizer, { eps: 1e-7, biasCorrection: true });
  t.deepEqual(config.methods, [{ name: "weight-decay", lambda: 0.5 }]);
  t.false("epochs" in config);
});

test("what is printed is a recipe that resolves to itself", async (t) => {
  const config = await resolved("--recipe", "original-bert", "--task", "RTE", "--data", "glue", "--order-seed", "3");
  const file = join(temporaryFolder(t), "config.json");
  writeFileSync(file, JSON.stringify(config));
  t.deepEqual(await resolved("--recipe", file), config);
});

test("the schema and the recipes are printed as JSON", async (t) => {
  const schema = JSON.parse((await steadytune(["config", "schema"])).stdout) as { properties: object };
  t.true("batchSize" in schema.properties);
  const recipes = JSON.parse((await steadytune(["config", "examples", "--json"])).stdout) as object;
  t.deepEqual(Object.keys(recipes), recipeNames());
});

test("docs/configuration.md says what the schema says", (t) => {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/docs.mjs", "--check"], {
    cwd: root,
    encoding: "utf8",
  });
  t.is(status, 0, stderr);
});
