import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { readManifest, type Manifest } from "#src/study/manifest.js";
import type { RunResult } from "#src/training/result.js";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

const figure2 = fileURLToPath(new URL("../../configs/paper/figure2.json", import.meta.url));

/** Lengths are tried with two seeds, and the best gets a third one. */
function writeSearch(t: ExecutionContext): { folder: string; file: string } {
  const folder = temporaryFolder(t);
  const file = join(folder, "study.json");
  const study = {
    name: "search",
    base: {
      ...{ model: tinyModel(folder), data: ticketsFile, text: "body", label: "queue", maxLength: 32, batchSize: 16 },
      optimizer: { learningRate: 1e-3 },
    },
    stages: [
      { name: "length", recipes: [{ name: "longer", grid: { steps: [1, 40] } }], seeds: 2 },
      {
        name: "table",
        recipes: [
          { name: "standard", steps: 3 },
          { name: "longer", select: { stage: "length", recipe: "longer" } },
        ],
        seeds: 3,
      },
    ],
    presets: { one: { grid: { steps: [2] }, seeds: 1 } },
  };
  writeFileSync(file, JSON.stringify(study));
  return { folder, file };
}

function validationScore(folder: string, id: string): number {
  const result = JSON.parse(readFileSync(join(folder, "trials", id, "result.json"), "utf8")) as RunResult;
  return result.best!.validation[result.metric]!;
}

function meanOf(folder: string, { trials }: Manifest, recipe: string): number {
  const own = trials.filter((trial) => trial.stage === "length" && trial.recipe === recipe);
  return own.reduce((sum, { id }) => sum + validationScore(folder, id), 0) / own.length;
}

test("a study trains the later stage with what was best on the validation rows of the earlier one", async (t) => {
  const { folder, file } = writeSearch(t);
  const output = join(folder, "out");
  const run = await steadytune(["study", file, "--output", output]);
  t.is(run.code, 0, run.stderr);
  const manifest = (await readManifest(output))!;
  const chosen = manifest.trials.filter(({ stage, recipe }) => stage === "table" && recipe === "longer");
  t.deepEqual(
    chosen.map(({ config, seed }) => [config.steps, seed]),
    [0, 1, 2].map((seed) => [40, `seed ${seed}`]),
  );
  const means = ["longer, steps 1", "longer, steps 40"].map((recipe) => meanOf(output, manifest, recipe));
  t.true(means[1]! > means[0]!, "the tiny BERT learns in 40 steps and not in one");
  t.deepEqual(
    manifest.study.cells?.at(-1)?.select?.choice?.among.map(({ mean }) => mean),
    means,
  );
  // Two of the three seeds had been trained in the search.
  t.is(new Set(manifest.trials.map(({ id }) => id)).size, 4 + 3 + 1);
  t.regex(run.stderr, /"longer" on tickets: longer, steps 40, \d+\.\d on validation, the best of 2/);
  t.regex(run.stdout, /longer +3 /);
});

test("a preset is chosen by name, and has a folder of its own", async (t) => {
  const { folder, file } = writeSearch(t);
  const run = await steadytune(["study", file, "--preset", "one"], { cwd: folder });
  t.is(run.code, 0, run.stderr);
  const { trials, study } = (await readManifest(join(folder, "runs/search-one")))!;
  t.is(study.preset, "one");
  t.deepEqual(
    trials.map(({ recipe, config }) => [recipe, config.steps]),
    [
      ["longer, steps 2", 2],
      ["standard", 3],
      ["longer", 2],
    ],
  );
  const status = await steadytune(["study", "status", file, "--preset", "one", "--json"], { cwd: folder });
  t.is(status.code, 0, status.stderr);
  t.like(JSON.parse(status.stdout), { folder: "runs/search-one", done: 2 });
  const twice = await steadytune(["study", "status", "runs/search-one", "--preset", "one"], { cwd: folder });
  t.is(twice.code, 2);
  t.regex(twice.stderr, /is a study's folder already, so that --preset has nothing to say/);
  const wrong = await steadytune(["study", file, "--preset", "on"], { cwd: folder });
  t.is(wrong.code, 2);
  t.regex(wrong.stderr, /has no preset "on"\n.*did you mean "one"/);
});

test("a preset for a small model asks for --model before it looks for the large one of the file", async (t) => {
  const folder = temporaryFolder(t);
  for (const verb of [[], ["plan"], ["estimate"]]) {
    const args = ["study", ...verb, figure2, "--preset", "small", "--data", folder];
    const { code, stderr } = await steadytune(args, { cwd: folder, env: { HF_HUB_OFFLINE: "1" } });
    t.is(code, 2, stderr);
    t.regex(stderr, /no model is given, which the preset "small" of "Figure 2.*" needs\nhint: .* small .* --model/);
  }
});

test("what a study will take is told without running it", async (t) => {
  const { folder, file } = writeSearch(t);
  const run = await steadytune(["study", "estimate", file, "--json", "--seeds", "2", "--workers", "1"], {
    cwd: folder,
  });
  t.is(run.code, 0, run.stderr);
  const estimate = JSON.parse(run.stdout) as { runs: number; seconds: number; disk: { states: number } };
  t.is(estimate.runs, 4 + 2);
  t.true(estimate.seconds > 0 && estimate.disk.states > 0);
  const table = await steadytune(["study", "estimate", file], { cwd: folder });
  t.regex(table.stdout, /8 runs: about .* with \d+ workers?; .* of disk, and .* more while it runs/);
});
