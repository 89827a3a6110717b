import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import type { RunConfig } from "#src/config/schema.js";
import { glueTasks } from "#src/data/glue-tasks.js";
import { longerGrid } from "#src/training/longer.js";
import { workOf } from "#src/study/estimate.js";
import { extendPlan } from "#src/study/extend.js";
import { readStudyFile, type Cell, type Study, type StudyChoice } from "#src/study/file.js";
import { planTrials, type Trial } from "#src/study/plan.js";
import { planStudy } from "#src/study/run.js";
import { trialFolder } from "#src/study/trial.js";
import { glueFolder } from "../helpers/glue-files.js";
import { syntheticResult } from "../helpers/synthetic-study.js";
import { tinyModel } from "../helpers/tiny-run.js";

const folder = fileURLToPath(new URL("../../configs/paper", import.meta.url));
const files = readdirSync(folder).map((file) => file.replace(/\.json$/, ""));
const read = (name: string, choice: StudyChoice = {}): Promise<Study> =>
  readStudyFile(join(folder, `${name}.json`), choice);

const full = ["RTE", "MRPC", "STS-B", "CoLA"];
const few = ["RTE 1k", "MRPC 1k", "STS-B 1k", "CoLA 1k", "SST 1k", "QNLI 1k", "QQP 1k", "MNLI 1k"];

const models = ["XLNet", "RoBERTa", "ELECTRA", "BART"];

/** Of {200, 400, 800, 1600, 3200} steps those that are no fewer than 3 epochs; all of them on the eight 1k tasks. */
const lengths = 4 + 4 + 3 + 2 + 8 * 5;

/** What the paper trains, stage by stage: cells and seeds; and how many different runs that makes. */
const paper: Record<
  string,
  { stages: Record<string, [cells: number, seeds: number]>; runs?: number; expected: number }
> = {
  table1: {
    // Standard, the pooler alone and L = 1 to 6; both arms at every length; the table's four columns.
    stages: { depth: [12 * 8, 20], length: [2 * lengths, 8], table: [12 * 4, 20] },
    expected: 12 * 4,
  },
  "table1-rte": {
    stages: { depth: [8, 20], length: [2 * 4, 8], table: [4, 20] },
    // Two columns stand in the stage depth already, and 8 of 20 seeds of the other two in the stage length.
    runs: 8 * 20 + 8 * 8 + 2 * 12,
    expected: 4,
  },
  table2: {
    // App. H: 6 points of LLRD, 5 of Mixout, 4 and 4 of the decays, 6 of Re-init.
    stages: { search: [4 * (6 + 5 + 4 + 4 + 6), 20], length: [4 + 4 + 3 + 2, 8], table: [4 * 8, 20] },
    expected: 32,
  },
  table4: { stages: { table: [8, 20] }, runs: 160, expected: 8 },
  table5: { stages: { table: [2, 3] }, runs: 6, expected: 2 },
  table7: {
    stages: Object.fromEntries([
      ...models.map((model) => [`${model} depth`, [4 * 7, 20]]),
      ...models.map((model) => [model, [4 * 2, 20]]),
    ]) as Record<string, [number, number]>,
    expected: 32,
  },
  figure2: { stages: { correction: [8, 50] }, runs: 400, expected: 4 },
  figure5: { stages: { depth: [16, 20] }, runs: 320, expected: 0 },
  figure7: { stages: { distance: [20, 5] }, runs: 100, expected: 0 },
  figure8: { stages: { length: [8 * 2 * 6, 8] }, runs: 768, expected: 0 },
  figure10: { stages: { seeds: [2, 100] }, runs: 200, expected: 2 },
};

const ofStage = ({ cells }: Study, stage: string): Cell[] => cells.filter((cell) => cell.stage === stage);
const methodOf = ({ config }: Cell) => config.methods?.[0];

test("there is a file for each experiment of the paper", (t) => {
  t.deepEqual([...files].sort(), Object.keys(paper).sort());
});

for (const [name, { stages, expected }] of Object.entries(paper)) {
  test(`${name} has the paper's cells and seeds`, async (t) => {
    const study = await read(name);
    t.is(study.name, name);
    const counted = [...new Set(study.cells.map(({ stage }) => stage))].map((stage) => {
      const cells = ofStage(study, stage);
      const seeds = new Set(cells.map((cell) => cell.seeds.length));
      t.is(seeds.size, 1);
      return [stage, [cells.length, ...seeds]];
    });
    t.deepEqual(Object.fromEntries(counted), stages);
    t.is(study.cells.filter((cell) => cell.expected !== null).length, expected);
  });

  test(`${name} trains as the paper says where it does not say otherwise`, async (t) => {
    for (const { config, select, recipe } of (await read(name)).cells) {
      if (select !== null) continue;
      t.is(config.dropout, 0.1);
      t.is(config.evaluations, 10);
      t.is(config.protocol, "paper");
      t.is(config.optimizer?.biasCorrection, recipe !== "No correction");
      if (name === "table7") continue;
      t.is(config.model, "google-bert/bert-large-uncased");
      t.is(config.batchSize, 32);
      t.is(config.steps ?? config.epochs, config.steps ?? 3);
      if (!recipe.startsWith("LLRD")) t.is(config.optimizer?.learningRate, 2e-5);
    }
  });
}

test("tasks are the paper's, and the 1k ones are cut to 1,000 rows", async (t) => {
  const { cells } = await read("table1");
  t.deepEqual([...new Set(cells.map(({ task }) => task))], [...full, ...few]);
  for (const { task, config, select } of cells) {
    if (select !== null) continue;
    const name = config.task === "SST-2" ? "SST" : config.task;
    t.is(task, config.trainRows === 1000 ? `${name} 1k` : `${name}`);
  }
  t.deepEqual([...new Set((await read("figure8")).cells.map(({ task }) => task))], few);
});

test("lengths are the paper's, without those shorter than 3 epochs", async (t) => {
  const threeEpochs: Record<string, number> = { RTE: 234, MRPC: 345, "STS-B": 540, CoLA: 804 };
  for (const name of ["table1", "table2"]) {
    const cells = ofStage(await read(name), "length");
    for (const task of new Set(cells.map((cell) => cell.task))) {
      for (const recipe of new Set(cells.map(({ grid }) => grid?.recipe))) {
        const own = cells.filter((cell) => cell.task === task && cell.grid?.recipe === recipe);
        t.deepEqual(
          own.map(({ config }) => config.steps),
          longerGrid(threeEpochs[task] ?? 96),
        );
      }
    }
  }
  const standard = (await read("figure8")).cells.filter(
    ({ task, grid }) => task === "MNLI 1k" && grid?.recipe === "Standard",
  );
  t.deepEqual(
    standard.map(({ config }) => config.steps),
    [96, 200, 400, 800, 1600, 3200],
  );
});

test("search spaces are those of Appendix H", async (t) => {
  const cells = ofStage(await read("table2"), "search").filter(({ task }) => task === "MRPC");
  const values = (recipe: string, ...keys: string[]) =>
    cells.filter(({ grid }) => grid?.recipe === recipe).map(({ grid }) => keys.map((key) => grid?.values[key]));
  t.deepEqual(
    values("LLRD", "optimizer.learningRate", "methods.0.decay"),
    [2e-5, 5e-5, 1e-4].flatMap((rate) => [0.9, 0.95].map((decay) => [rate, decay])),
  );
  t.deepEqual(values("Mixout", "methods.0.p").flat(), [0.1, 0.3, 0.5, 0.7, 0.9]);
  t.deepEqual(values("Pre-trained WD", "methods.0.lambda").flat(), [1e-3, 1e-2, 1e-1, 1]);
  t.deepEqual(values("WD", "methods.0.lambda").flat(), [1e-4, 1e-3, 1e-2, 1e-1]);
  t.deepEqual(values("Re-init", "methods.0.layers").flat(), [1, 2, 3, 4, 5, 6]);
  t.deepEqual(
    new Set(cells.map((cell) => methodOf(cell)?.name)),
    new Set(["llrd", "mixout", "pretrained-weight-decay", "weight-decay", "reinit"]),
  );
});

test("each column of a table reads the test scores of what the stage before it chose", async (t) => {
  const selects = async (name: string, task: string) =>
    ofStage(await read(name), "table")
      .filter((cell) => cell.task === task)
      .map(({ recipe, select, config }) =>
        select ? [recipe, `${select.stage}: ${select.recipe}`] : [recipe, config.epochs],
      );
  t.deepEqual(await selects("table1", "QNLI 1k"), [
    ["Standard", 3],
    ["Standard, longer", "length: Standard, longer"],
    ["Re-init", "depth: Re-init"],
    ["Re-init, longer", "length: Re-init, longer"],
  ]);
  const longer = ofStage(await read("table1"), "length").filter(({ recipe }) => recipe.startsWith("Re-init"));
  t.true(longer.every(({ select }) => select?.stage === "depth" && select.recipe === "Re-init"));
  t.deepEqual(await selects("table2", "RTE"), [
    ["Standard", 3],
    ["Int. task (MNLI)", 3],
    ...["LLRD", "Mixout", "Pre-trained WD", "WD", "Re-init"].map((recipe) => [recipe, `search: ${recipe}`]),
    ["Longer", "length: Longer"],
  ]);
});

test("the numbers beside ours are the paper's", async (t) => {
  const expected = async (name: string, task: string, recipe: string) => {
    const study = await read(name);
    return study.cells.find((cell) => cell.task === task && cell.recipe === recipe && cell.expected)?.expected;
  };
  const test = (mean: number, std: number, source: string, n = 20) => ({ test: { mean, std, n, source } });
  const validation = (mean: number, std: number, source: string, n = 20) => ({ validation: { mean, std, n, source } });
  t.deepEqual(await expected("table1", "RTE", "Re-init, longer"), test(73.1, 1.3, "Table 1"));
  t.deepEqual(await expected("table1", "MNLI 1k", "Standard"), test(52.2, 4.2, "Table 1"));
  // The paper has other numbers for the same cells in Table 2.
  t.deepEqual(await expected("table1", "CoLA", "Re-init"), test(63.9, 1.9, "Table 1"));
  t.deepEqual(await expected("table2", "CoLA", "Re-init"), test(64.2, 1.6, "Table 2"));
  t.deepEqual(await expected("table1", "MRPC", "Standard, longer"), test(90.5, 1.5, "Table 1"));
  t.deepEqual(await expected("table2", "MRPC", "Longer"), test(91, 1.3, "Table 2"));
  t.deepEqual(await expected("table4", "STS-B", "Full precision"), validation(90.1, 0.7, "Table 4"));
  t.deepEqual(await expected("table5", "MNLI", "Correction"), {
    ...test(86.9, 0.3, "Table 5", 3),
    ...validation(85.9, 0.3, "Table 5", 3),
  });
  t.deepEqual(await expected("table7", "CoLA", "ELECTRA, Re-init"), test(61.3, 20.1, "Table 7"));
  t.deepEqual(await expected("figure10", "RTE", "Re-init"), validation(74.35, 1.65, "Figure 9", 100));
});

test("what differs between the arms of a figure is what the figure is about", async (t) => {
  const layers = async (name: string, task: string) =>
    (await read(name)).cells
      .filter((cell) => cell.task === task)
      .map((cell) => {
        const method = methodOf(cell);
        return method?.name === "reinit" ? method.layers : null;
      });
  t.deepEqual(await layers("figure5", "MRPC"), [null, 0, 1, 2, 3, 4, 5, 6]);
  t.deepEqual(await layers("figure7", "RTE"), [null, 1, 3, 6, 10]);
  t.deepEqual(await layers("figure10", "RTE"), [null, 5]);
  // The legends of Figures 8 and 14.
  for (const [i, L] of [6, 5, 4, 1, 2, 4, 3, 5].entries()) {
    t.deepEqual(new Set(await layers("figure8", few[i]!)), new Set([null, L]));
  }
  t.true((await read("figure7")).cells.every(({ config }) => config.diagnosticsEvery === 10));
  const precision = (await read("table4")).cells.map(({ recipe, config }) => [recipe, config.dtype]);
  t.deepEqual(
    new Set(precision.map((pair) => pair.join(" "))),
    new Set(["Mixed precision bfloat16", "Full precision float32"]),
  );
});

test("the other models keep their own settings under Re-init", async (t) => {
  const cells = (await read("table7")).cells.filter(({ stage }) => stage.endsWith(" depth"));
  for (const cell of cells) {
    const { config, grid } =
      cells.find(({ task, recipe }) => task === cell.task && recipe === cell.grid?.recipe.replace(", Re-init", "")) ??
      cell;
    t.is(grid, null);
    const { methods: own = [], ...settings } = cell.config;
    const { methods: plain = [], ...others } = config;
    t.deepEqual(settings, others);
    t.deepEqual(
      own.filter(({ name }) => name !== "reinit"),
      plain,
    );
  }
  const xlnet = cells.find(({ task, recipe }) => task === "CoLA" && recipe === "XLNet")?.config;
  t.deepEqual([xlnet?.model, xlnet?.steps, xlnet?.batchSize], ["xlnet/xlnet-large-cased", 1200, 128]);
});

test("each of the other models is compared with itself without Re-init: it is the first of its stage", async (t) => {
  const study = await read("table7");
  for (const model of models) {
    for (const task of full) {
      const cells = ofStage(study, model).filter((cell) => cell.task === task);
      t.deepEqual(
        cells.map(({ recipe, select }) => [recipe, select]),
        [model, `${model}, Re-init`].map((recipe) => [recipe, { stage: `${model} depth`, recipe }]),
      );
    }
  }
});

test("every preset small asks for a model: no file's own is small", async (t) => {
  for (const name of files) {
    const study = await read(name, { preset: "small" });
    await t.throwsAsync(planTrials(study, join(folder, name)), { message: /no model is given/ });
    t.throws(() => workOf(study), { message: /no model is given/ });
  }
});

test("Table 1 for RTE is the first row of Table 1", async (t) => {
  t.deepEqual((await read("table1-rte")).cells, (await read("table1", { tasks: ["RTE"] })).cells);
});

let root = "";
let overrides: RunConfig = {};

/** Files of all tasks, with as many rows as 1k subsets and their validation rows need, and a model. */
test.before(() => {
  root = mkdtempSync(join(tmpdir(), "steadytune-test-"));
  const data = glueFolder(root, { rows: 5200, heldOut: 60, tasks: glueTasks.slice(0, 8).map(({ name }) => name) });
  overrides = { model: tinyModel(root), data };
});

test.after.always(() => rmSync(root, { recursive: true, force: true }));

/** Plans a study to its end, as if every trial had been run and all had been equally good. */
async function planToTheEnd(study: Study, output: string): Promise<Trial[]> {
  let { trials } = (await planStudy(study, output)).manifest;
  for (let added: readonly Trial[] = trials; added.length > 0;) {
    for (const trial of added) {
      mkdirSync(trialFolder(output, trial), { recursive: true });
      writeFileSync(join(trialFolder(output, trial), "result.json"), JSON.stringify(syntheticResult(0.5)));
    }
    const extension = await extendPlan(output);
    added = extension.added;
    trials = extension.manifest.trials;
  }
  return trials;
}

const seedsOf = (cells: readonly Cell[]): number => cells.reduce((sum, { seeds }) => sum + seeds.length, 0);
const different = (trials: readonly Trial[]): number => new Set(trials.map(({ id }) => id)).size;

for (const [name, { runs }] of Object.entries(paper)) {
  test(`${name} can be planned whole`, async (t) => {
    const study = await read(name, { overrides });
    const { trials } = await planTrials(study, join(root, name));
    const first = study.cells.filter(({ select }) => select === null);
    t.is(trials.length, seedsOf(first));
    if (first.length === study.cells.length) t.is(different(trials), runs!);
  });

  test(`${name} can be planned to its end by the preset small, and has no more than 50 runs`, async (t) => {
    const study = await read(name, { overrides, preset: "small" });
    const trials = await planToTheEnd(study, join(root, `${name}-small`));
    t.is(trials.length, seedsOf(study.cells));
    t.true(different(trials) <= 50, `${different(trials)} runs`);
    t.true(trials.every(({ config }) => (config.trainRows ?? Infinity) <= 4000));
  });
}

test("an estimate counts the runs that cells share once", async (t) => {
  // Table 1: two columns stand in the stage depth, and 8 of 20 seeds of the other two in the stage length. Table 2:
  // Standard and the intermediate task are new, and 12 seeds of the chosen length. Table 7: all stand in the stages of the depths.
  const counts = {
    table1: 12 * 8 * 20 + 2 * lengths * 8 + 12 * 2 * 12,
    table2: 4 * 25 * 20 + 13 * 8 + 4 * (20 + 20 + 12),
    table7: 4 * 4 * 7 * 20,
    "table1-rte": paper["table1-rte"]!.runs!,
    figure2: 400,
  };
  for (const [name, runs] of Object.entries(counts)) {
    const work = workOf(await read(name, { overrides }));
    t.is(Math.round(work.reduce((sum, item) => sum + item.runs, 0)), runs, name);
  }
});

test("the table of Table 1 for RTE shares runs with the stages that chose its columns", async (t) => {
  const study = await read("table1-rte", { overrides });
  const trials = await planToTheEnd(study, join(root, "table1-rte-to-the-end"));
  t.is(trials.length, seedsOf(study.cells));
  t.is(different(trials), paper["table1-rte"]!.runs!);
});
