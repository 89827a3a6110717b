import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import test from "ava";
import { ConfigError } from "#src/errors.js";
import { parseStudy, readStudyFile } from "#src/study/file.js";
import type { StudyFile } from "#src/study/schema.js";
import { expandSeeds, seedLabel } from "#src/study/seeds.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const place = { source: "study.json", folder: "/studies" };

const small: StudyFile = {
  name: "small",
  base: { model: "./bert", batchSize: 16, optimizer: { learningRate: 1e-3, eps: 1e-6 } },
  stages: [
    {
      name: "only",
      tasks: [
        { name: "RTE", task: "RTE", data: "../glue" },
        { name: "CoLA", task: "CoLA", data: "glue", batchSize: 8 },
      ],
      recipes: [{ name: "plain" }, { name: "longer", epochs: 10, batchSize: 4, optimizer: { biasCorrection: false } }],
      seeds: 2,
    },
  ],
};

test("every recipe meets every task, with its keys on top of the task's, and the task's on top of the base's", (t) => {
  const { cells } = parseStudy(small, place);
  t.deepEqual(
    cells.map(({ task, recipe, config }) => [task, recipe, config.batchSize]),
    [
      ["RTE", "plain", 16],
      ["RTE", "longer", 4],
      ["CoLA", "plain", 8],
      ["CoLA", "longer", 4],
    ],
  );
  t.deepEqual(cells[1]?.config.optimizer, { learningRate: 1e-3, eps: 1e-6, biasCorrection: false });
});

test("what the command line says goes on top of every cell", (t) => {
  const { cells } = parseStudy(small, { ...place, overrides: { batchSize: 2, steps: 5 } });
  t.deepEqual(new Set(cells.map(({ config }) => config.batchSize)), new Set([2]));
  t.true(cells.every(({ config }) => config.steps === 5 && config.epochs === undefined));
});

test("names of files that begin with a dot are relative to the study file, others are left alone", (t) => {
  const { cells } = parseStudy(small, place);
  t.is(cells[0]?.config.model, "/studies/bert");
  t.is(cells[0]?.config.data, "/glue");
  t.is(cells[2]?.config.data, "glue");
});

test("a study without tasks has one, named after its data", (t) => {
  const { cells } = parseStudy(
    { name: "s", base: { data: "./tickets.csv" }, stages: [{ name: "a", recipes: [{ name: "r" }], seeds: [7] }] },
    place,
  );
  t.deepEqual(
    cells.map(({ task, seeds }) => [task, seeds]),
    [["tickets", [{ seed: 7 }]]],
  );
});

test("a study without tasks can expect numbers, and name recipes' tasks, by what its data are called", (t) => {
  const recipes = [{ name: "only", tasks: ["tickets"], expected: { tickets: { test: { mean: 90, source: "us" } } } }];
  const { cells } = parseStudy(
    { name: "s", base: { data: "data/tickets.csv" }, stages: [{ name: "a", recipes, seeds: 1 }] },
    { source: "study.json", folder: "." },
  );
  t.like(cells, [{ task: "tickets", expected: { test: { mean: 90 } } }]);
});

test("a study in memory is checked as a file is, and its name can be a folder's", (t) => {
  const parse = (study: unknown) => () => parseStudy(study as StudyFile, { source: "mine", folder: "." });
  t.throws(parse({ name: "x" }), { instanceOf: ConfigError, message: 'mine: the study lacks "stages"' });
  for (const name of ["../x", "a/b", ".."]) {
    const stages = [{ name: "a", recipes: [{ name: "r" }], seeds: 1 }];
    t.throws(parse({ name, stages }), { instanceOf: ConfigError, message: /name must match pattern/ }, name);
  }
});

test("a recipe may extend one that ships with steadytune, or a file beside the study", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "mine.json"), JSON.stringify({ extends: "original-bert", epochs: 5 }));
  const study = { name: "s", stages: [{ name: "a", recipes: [{ name: "r", extends: "./mine.json" }], seeds: 1 }] };
  writeFileSync(join(folder, "study.json"), JSON.stringify(study));
  const { cells } = await readStudyFile(join(folder, "study.json"));
  t.is(cells[0]?.config.epochs, 5);
  t.is(cells[0]?.config.optimizer?.biasCorrection, false);
});

test("seeds are a count, a list, or a grid of init and order seeds", (t) => {
  t.deepEqual(expandSeeds(3), [{ seed: 0 }, { seed: 1 }, { seed: 2 }]);
  t.deepEqual(expandSeeds([11, 4]), [{ seed: 11 }, { seed: 4 }]);
  t.deepEqual(expandSeeds({ init: [0, 1], order: [5, 6] }), [
    { initSeed: 0, orderSeed: 5 },
    { initSeed: 0, orderSeed: 6 },
    { initSeed: 1, orderSeed: 5 },
    { initSeed: 1, orderSeed: 6 },
  ]);
  t.is(seedLabel({ initSeed: 3, orderSeed: 3 }), "seed 3");
  t.is(seedLabel({ initSeed: 1, orderSeed: 2 }), "init 1, order 2");
});

const refused: [what: string, change: (study: Record<string, unknown>) => void, message: RegExp, hint: RegExp][] = [
  ["an unknown key", (study) => (study["stage"] = []), /study\.json: unknown key "stage"/, /did you mean "stages"/],
  [
    "an unknown key of a recipe",
    (study) => (study["base"] = { bachSize: 3 }),
    /study\.json: base: unknown key "bachSize"/,
    /"batchSize"/,
  ],
  [
    "a seed among the settings",
    (study) => (study["base"] = { seed: 3 }),
    /base sets seed, which the study decides/,
    /seeds/,
  ],
  ["a study without stages", (study) => delete study["stages"], /the study lacks "stages"/, /^$/],
  [
    "seeds that are none",
    (study) => (study["stages"] = [{ name: "a", recipes: [{ name: "r" }], seeds: "five" }]),
    /stages\[0\]\.seeds is not a choice of seeds/,
    /a count/,
  ],
  [
    "two recipes of one name",
    (study) => (study["stages"] = [{ name: "a", recipes: [{ name: "r" }, { name: "r" }], seeds: 1 }]),
    /stages\[0\]\.recipes has two entries named "r"/,
    /^$/,
  ],
  [
    "a recipe without a name",
    (study) => (study["stages"] = [{ name: "a", recipes: [{}], seeds: 1 }]),
    /stages\[0\]\.recipes\[0\] lacks "name"/,
    /^$/,
  ],
];

for (const [what, change, message, hint] of refused) {
  test(`${what} is refused with its place`, (t) => {
    const study = structuredClone(small) as Record<string, unknown>;
    change(study);
    const folder = temporaryFolder(t);
    const path = join(folder, "study.json");
    writeFileSync(path, JSON.stringify(study));
    return readStudyFile(path).then(
      () => t.fail("nothing was refused"),
      (error: unknown) => {
        if (!(error instanceof ConfigError)) throw error;
        t.regex(error.message, message);
        t.regex(error.hint ?? "", hint);
      },
    );
  });
}

test("a file that is no JSON, or not there, is refused with its path", async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "sub"));
  const path = join(folder, "sub", "study.json");
  await t.throwsAsync(readStudyFile(path), { instanceOf: ConfigError, message: new RegExp(resolve(path)) });
  writeFileSync(path, "{ name: }");
  await t.throwsAsync(readStudyFile(path), { instanceOf: ConfigError, message: /is not JSON/ });
});
