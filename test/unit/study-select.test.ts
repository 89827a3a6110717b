import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { ConfigError } from "#src/errors.js";
import { addSeeds } from "#src/study/add-seeds.js";
import { extendPlan } from "#src/study/extend.js";
import { parseStudy, type Study, type StudyChoice } from "#src/study/file.js";
import { readManifest, type Manifest } from "#src/study/manifest.js";
import type { Trial } from "#src/study/plan.js";
import { planStudy } from "#src/study/run.js";
import type { StageFile } from "#src/study/schema.js";
import { trialFolder } from "#src/study/trial.js";
import { syntheticResult } from "../helpers/synthetic-study.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyModel } from "../helpers/tiny-run.js";

const search: StageFile = {
  name: "search",
  recipes: [{ name: "plain" }, { name: "longer", grid: { steps: [10, 20, 40] } }],
  seeds: 2,
};
const table: StageFile = {
  name: "table",
  recipes: [{ name: "plain" }, { name: "longer", select: { stage: "search", recipe: "longer" } }],
  seeds: 3,
};

function ticketStudy(folder: string, stages: StageFile[] = [search, table], choice: StudyChoice = {}): Study {
  return parseStudy(
    {
      name: "tickets",
      base: { model: "./tiny-bert", data: "./tickets.csv", text: "body", label: "queue", maxLength: 32 },
      stages,
    },
    { source: "study.json", folder, ...choice },
  );
}

function place(t: ExecutionContext): string {
  const folder = temporaryFolder(t);
  tinyModel(folder);
  copyFileSync(ticketsFile, join(folder, "tickets.csv"));
  return folder;
}

/** Leaves a trial as training would: with this validation accuracy, or diverged before its first evaluation. */
function finish(output: string, trial: Trial, validation: number | null): void {
  const result = syntheticResult(validation === null ? null : 0.5);
  if (result.best && validation !== null) result.best.validation = { accuracy: validation };
  mkdirSync(trialFolder(output, trial), { recursive: true });
  writeFileSync(join(trialFolder(output, trial), "result.json"), JSON.stringify(result));
}

function finishAll(output: string, { trials }: Manifest, score: (trial: Trial) => number | null): void {
  for (const trial of trials) finish(output, trial, score(trial));
}

const ofStage = ({ trials }: Manifest, stage: string): Trial[] => trials.filter((trial) => trial.stage === stage);
const choiceOf = ({ study }: Manifest) => study.cells?.find(({ select }) => select !== null)?.select?.choice ?? null;

test("a stage that selects has no trials before the last run of every candidate is finished", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const { manifest } = await planStudy(ticketStudy(folder), output);
  t.is(ofStage(manifest, "search").length, 8);
  t.deepEqual(
    ofStage(manifest, "table").map(({ recipe }) => recipe),
    ["plain", "plain", "plain"],
  );
  const [last, ...others] = ofStage(manifest, "search").reverse();
  for (const trial of others) finish(output, trial, 0.5);
  const early = await extendPlan(output);
  t.is(early.added.length, 0);
  t.deepEqual(
    early.waiting.map(({ cell, trials, cells }) => [cell.recipe, trials, cells]),
    [["longer", 1, 0]],
  );
  finish(output, last!, 0.5);
  const { added, waiting, manifest: extended } = await extendPlan(output);
  t.is(added.length, 3);
  t.is(waiting.length, 0);
  t.deepEqual(extended.trials, [...manifest.trials, ...added]);
  t.deepEqual(await readManifest(output), extended);
  t.is((await extendPlan(output)).added.length, 0);
});

test("the cell with the best mean validation score gets the seeds, and its finished runs are not run again", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const { manifest } = await planStudy(ticketStudy(folder), output);
  // 20 steps are best on average, 40 in one run, and plain is no candidate.
  const scores: Record<string, [number, number]> = {
    plain: [0.99, 0.99],
    "longer, steps 10": [0.6, 0.6],
    "longer, steps 20": [0.7, 0.8],
    "longer, steps 40": [0.9, 0.5],
  };
  finishAll(output, manifest, ({ recipe, config }) => scores[recipe]?.[config.seed] ?? 0);
  const { added, manifest: extended } = await extendPlan(output);
  t.deepEqual(
    added.map(({ recipe, seed, config }) => [recipe, seed, config.steps]),
    [0, 1, 2].map((seed) => ["longer", `seed ${seed}`, 20]),
  );
  const searched = ofStage(manifest, "search").filter(({ config }) => config.steps === 20);
  t.deepEqual(
    added.slice(0, 2).map(({ id }) => id),
    searched.map(({ id }) => id),
  );
  t.deepEqual(choiceOf(extended), {
    recipe: "longer, steps 20",
    among: [
      { recipe: "longer, steps 10", mean: 0.6, runs: 2, withoutScore: 0 },
      { recipe: "longer, steps 20", mean: 0.75, runs: 2, withoutScore: 0 },
      { recipe: "longer, steps 40", mean: 0.7, runs: 2, withoutScore: 0 },
    ],
  });
});

test("of equally good cells the first in the file is taken", async (t) => {
  const folder = place(t);
  const { manifest } = await planStudy(ticketStudy(folder), join(folder, "out"));
  finishAll(join(folder, "out"), manifest, ({ config }) => (config.steps === 10 ? 0.6 : 0.7));
  t.is(choiceOf((await extendPlan(join(folder, "out"))).manifest)?.recipe, "longer, steps 20");
});

test("equally good cells are told from better ones by their scores, not by how a sum of them rounds", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const { manifest } = await planStudy(ticketStudy(folder, [{ ...search, seeds: 3 }, table]), output);
  // In this order the last has the largest mean, by one unit of the last digit.
  const scores: Record<number, number[]> = { 10: [0.3, 0.2, 0.1], 20: [0.2, 0.2, 0.2], 40: [0.1, 0.2, 0.3] };
  finishAll(output, manifest, ({ config: { steps, seed } }) => scores[steps ?? 0]?.[seed] ?? 0.9);
  const choice = choiceOf((await extendPlan(output)).manifest);
  t.is(choice?.recipe, "longer, steps 10");
  t.true((choice?.among[2]?.mean ?? 0) > (choice?.among[0]?.mean ?? 1));
});

test("a cell with a run that never had a score loses against one without, whatever their means", async (t) => {
  const folder = place(t);
  const { manifest } = await planStudy(ticketStudy(folder), join(folder, "out"));
  finishAll(join(folder, "out"), manifest, ({ config: { steps, seed } }) => {
    if (steps !== 10) return seed === 0 ? 0.9 : null;
    return 0.1;
  });
  const choice = choiceOf((await extendPlan(join(folder, "out"))).manifest);
  t.is(choice?.recipe, "longer, steps 10");
  t.deepEqual(choice?.among[1], { recipe: "longer, steps 20", mean: 0.9, runs: 2, withoutScore: 1 });
});

test("where every run of every candidate diverged, the first is taken", async (t) => {
  const folder = place(t);
  const { manifest } = await planStudy(ticketStudy(folder), join(folder, "out"));
  finishAll(join(folder, "out"), manifest, () => null);
  const choice = choiceOf((await extendPlan(join(folder, "out"))).manifest);
  t.is(choice?.recipe, "longer, steps 10");
  t.deepEqual(choice?.among[0], { recipe: "longer, steps 10", mean: null, runs: 2, withoutScore: 2 });
});

test("a choice can rest on a choice, with a grid and keys on top of it", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const stages: StageFile[] = [
    {
      name: "depth",
      recipes: [{ name: "r", methods: [{ name: "reinit" }], grid: { "methods.0.layers": [1, 2] } }],
      seeds: 1,
    },
    { name: "length", recipes: [{ name: "l", select: { stage: "depth" }, grid: { steps: [7, 9] } }], seeds: 1 },
    { name: "final", recipes: [{ name: "f", select: { stage: "length", recipe: "l" }, dropout: 0 }], seeds: 2 },
  ];
  const { manifest } = await planStudy(ticketStudy(folder, stages, { overrides: { batchSize: 8 } }), output);
  t.is(manifest.trials.length, 2);
  finishAll(output, manifest, ({ recipe }) => (recipe === "r, layers 2" ? 0.9 : 0.1));
  const second = await extendPlan(output);
  t.deepEqual(
    second.added.map(({ recipe, config: { methods, steps, epochs } }) => [recipe, methods, steps, epochs]),
    [7, 9].map((steps) => [`l, steps ${steps}`, [{ name: "reinit", layers: 2 }], steps, undefined]),
  );
  t.deepEqual(
    second.waiting.map(({ cell, trials, cells }) => [cell.recipe, trials, cells]),
    [["f", 2, 0]],
  );
  for (const trial of second.added) finish(output, trial, trial.config.steps === 9 ? 0.8 : 0.2);
  const third = await extendPlan(output);
  t.deepEqual(
    third.added.map(({ config: { methods, steps, dropout, batchSize, seed } }) => ({
      methods,
      steps,
      dropout,
      batchSize,
      seed,
    })),
    [0, 1].map((seed) => ({ methods: [{ name: "reinit", layers: 2 }], steps: 9, dropout: 0, batchSize: 8, seed })),
  );
});

test("a choice stands once trials were planned upon it: more seeds are added, other settings refused", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const { manifest } = await planStudy(ticketStudy(folder), output);
  finishAll(output, manifest, ({ config }) => (config.steps === 40 ? 0.9 : 0.3));
  const { manifest: first } = await extendPlan(output);

  // More seeds of the search would now choose otherwise.
  const { manifest: second } = await planStudy(
    ticketStudy(folder, [
      { ...search, seeds: 3 },
      { ...table, seeds: 4 },
    ]),
    output,
  );
  t.deepEqual(choiceOf(second), choiceOf(first));
  t.deepEqual(second.trials.slice(0, first.trials.length), first.trials);
  t.deepEqual(
    ofStage(second, "table")
      .slice(-1)
      .map(({ recipe, seed, config }) => [recipe, seed, config.steps]),
    [["longer", "seed 3", 40]],
  );

  const changed = structuredClone(table);
  changed.recipes[1]!["batchSize"] = 4;
  await t.throwsAsync(planStudy(ticketStudy(folder, [search, changed]), output), {
    instanceOf: ConfigError,
    message: /another config or choice for "longer" on tickets/,
  });
  const { manifest: anew } = await planStudy(ticketStudy(folder, [search, changed]), output, { replan: true });
  t.deepEqual(
    new Set(
      ofStage(anew, "table")
        .filter(({ recipe }) => recipe === "longer")
        .map(({ config }) => config.batchSize),
    ),
    new Set([4]),
  );
});

test("a cell that waits for a choice loses no seeds when the file is planned again, whoever added them", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  await planStudy(ticketStudy(folder), output);
  await addSeeds(output, 2, "table");
  await planStudy(ticketStudy(folder), output);
  await planStudy(ticketStudy(folder, [search, table], { seeds: 2 }), output);
  const { manifest } = await planStudy(ticketStudy(folder, [search, { ...table, seeds: [9, 1] }]), output);
  finishAll(output, manifest, () => 0.5);
  const { added } = await extendPlan(output);
  t.deepEqual(
    added.map(({ recipe, seed }) => [recipe, seed]),
    [0, 1, 2, 3, 4, 9].map((seed) => ["longer", `seed ${seed}`]),
  );
  t.deepEqual(
    ofStage(manifest, "table").map(({ recipe, seed }) => [recipe, seed]),
    [0, 1, 2, 3, 4, 9].map((seed) => ["plain", `seed ${seed}`]),
    "as the others of the stage",
  );
});

test("a cell with trials is not turned into one that selects, nor back, and one that still waits is", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  const plain: StageFile = { ...table, recipes: [{ name: "plain" }, { name: "longer", steps: 40 }] };
  const refused = { instanceOf: ConfigError, message: /another config or choice for "longer" on tickets/ };

  await planStudy(ticketStudy(folder, [search, plain]), join(folder, "plain"));
  const other = { ...table, seeds: [7, 8] };
  await t.throwsAsync(planStudy(ticketStudy(folder, [search, other]), join(folder, "plain")), refused);

  const { manifest } = await planStudy(ticketStudy(folder), output);
  finishAll(output, manifest, ({ config }) => (config.steps === 40 ? 0.9 : 0.3));
  const { manifest: chosen } = await extendPlan(output);
  // Even with the config that was chosen: the report would no longer say that it was.
  await t.throwsAsync(planStudy(ticketStudy(folder, [search, plain]), output), refused);
  t.deepEqual(await readManifest(output), chosen);

  await planStudy(ticketStudy(folder), join(folder, "waiting"));
  const { manifest: turned } = await planStudy(ticketStudy(folder, [search, plain]), join(folder, "waiting"));
  t.is(choiceOf(turned), null);
  t.is(ofStage(turned, "table").length, 6);
});

test("each task has its own choice", async (t) => {
  const folder = place(t);
  const output = join(folder, "out");
  copyFileSync(ticketsFile, join(folder, "other.csv"));
  const tasks = [{ name: "a" }, { name: "b", data: "./other.csv" }];
  const study = ticketStudy(folder, [
    { ...search, tasks },
    { ...table, tasks },
  ]);
  const { manifest } = await planStudy(study, output);
  finishAll(output, manifest, ({ task, config }) => (config.steps === (task === "a" ? 10 : 40) ? 0.9 : 0.5));
  const { added } = await extendPlan(output);
  t.deepEqual(new Set(added.map(({ task, config }) => `${task} ${config.steps}`)), new Set(["a 10", "b 40"]));
});

const refused: [what: string, select: object, message: RegExp, hint: RegExp][] = [
  [
    "a stage that does not exist",
    { stage: "serch" },
    /study\.json: stages\[1\]\.recipes\[0\] \(x\) selects from a stage that does not come before it, "serch"/,
    /did you mean "search"/,
  ],
  ["its own stage", { stage: "table" }, /does not come before it, "table"/, /there are: search/],
  [
    "a recipe that does not exist",
    { stage: "search", recipe: "long" },
    /selects from "search", which has on tickets no recipe "long"/,
    /there are: plain, longer/,
  ],
];

for (const [what, select, message, hint] of refused) {
  test(`to select from ${what} is refused`, (t) => {
    const stage = { ...table, recipes: [{ name: "x", select }] } as StageFile;
    const error = t.throws(() => ticketStudy("/nowhere", [search, stage]), { instanceOf: ConfigError, message });
    t.regex(error.hint ?? "", hint);
  });
}

test("settings that contradict those of a candidate are refused before the first run", (t) => {
  const stages: StageFile[] = [
    { name: "search", recipes: [{ name: "r", methods: [{ name: "llrd", decay: 0.9 }] }], seeds: 1 },
    { name: "table", recipes: [{ name: "x", select: { stage: "search" }, accumulation: 64 }], seeds: 1 },
  ];
  const base = { overrides: { batchSize: 32 } };
  t.throws(() => ticketStudy("/nowhere", stages, base), {
    message: /stages\[1\]\.recipes\[0\] \(x\): accumulation 64/,
  });
});
