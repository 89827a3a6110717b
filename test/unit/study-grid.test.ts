import { readFile } from "node:fs/promises";
import test from "ava";
import { ConfigError } from "#src/errors.js";
import { checkStudy } from "#src/study/check.js";
import { parseStudy, type StudyChoice } from "#src/study/file.js";
import { gridPoints, pointLabel } from "#src/study/grid.js";
import type { StudyFile } from "#src/study/schema.js";

const file: StudyFile = {
  name: "s",
  description: "What is asked.",
  base: { model: "bert", data: "glue", batchSize: 16 },
  tasks: [
    { name: "RTE", task: "RTE" },
    { name: "CoLA 1k", task: "CoLA", trainRows: 1000 },
    { name: "MRPC", task: "MRPC" },
  ],
  stages: [
    {
      name: "search",
      recipes: [
        {
          name: "plain",
          batchSize: 8,
          expected: { RTE: { test: { mean: 69.5, std: 2.5, n: 20, source: "Table 1" } } },
        },
        { name: "longer", tasks: ["RTE"], grid: { steps: [400, 800] } },
        { name: "longer", tasks: ["CoLA 1k", "MRPC"], grid: { steps: [200] } },
        {
          name: "llrd",
          tasks: ["RTE"],
          methods: [{ name: "llrd" }],
          grid: { "optimizer.learningRate": [2e-5, 5e-5], "methods.0.decay": [0.9, 0.95] },
        },
      ],
      seeds: 20,
    },
    { name: "table", tasks: ["MRPC", "RTE"], recipes: [{ name: "best", select: { stage: "search" } }], seeds: [7, 8] },
  ],
  presets: {
    small: {
      description: "On fewer rows.",
      base: { trainRows: 500, batchSize: 4, dropout: 0 },
      tasks: ["RTE", { name: "MRPC", task: "MRPC", maxLength: 64 }],
      recipes: { llrd: { epochs: 1 } },
      grid: { steps: [30, 60] },
      seeds: 2,
    },
  },
};

const parse = (choice: StudyChoice = {}, study = file) =>
  parseStudy(study, { source: "study.json", folder: "/", ...choice });
const names = ({ cells }: ReturnType<typeof parse>) =>
  cells.map(({ stage, task, recipe }) => `${stage}: ${recipe} on ${task}`);

test("a grid makes a cell of each combination of its values, and a recipe can be for some tasks alone", (t) => {
  t.deepEqual(names(parse()), [
    "search: plain on RTE",
    "search: longer, steps 400 on RTE",
    "search: longer, steps 800 on RTE",
    "search: llrd, learningRate 2e-5, decay 0.9 on RTE",
    "search: llrd, learningRate 2e-5, decay 0.95 on RTE",
    "search: llrd, learningRate 5e-5, decay 0.9 on RTE",
    "search: llrd, learningRate 5e-5, decay 0.95 on RTE",
    "search: plain on CoLA 1k",
    "search: longer, steps 200 on CoLA 1k",
    "search: plain on MRPC",
    "search: longer, steps 200 on MRPC",
    "table: best on MRPC",
    "table: best on RTE",
  ]);
  const cell = parse().cells[4];
  t.deepEqual(cell?.config.methods, [{ name: "llrd", decay: 0.95 }]);
  t.is(cell?.config.optimizer?.learningRate, 2e-5);
  t.deepEqual(cell?.grid, {
    recipe: "llrd",
    values: { "optimizer.learningRate": 2e-5, "methods.0.decay": 0.95 },
  });
});

test("the points of a grid come in the order of its keys, and are named as people write numbers", (t) => {
  t.deepEqual(gridPoints({ a: [1, 2], b: ["x", "y"] }), [
    { a: 1, b: "x" },
    { a: 1, b: "y" },
    { a: 2, b: "x" },
    { a: 2, b: "y" },
  ]);
  t.is(
    pointLabel({ "optimizer.learningRate": 5e-5, "methods.0.layers": 3, dtype: "float32", dropout: 0 }),
    "learningRate 5e-5, layers 3, dtype float32, dropout 0",
  );
});

test("published numbers belong to a recipe on a task", (t) => {
  const [plain, longer] = parse().cells;
  t.deepEqual(plain?.expected, { test: { mean: 69.5, std: 2.5, n: 20, source: "Table 1" } });
  t.is(longer?.expected, null);
});

test("tasks can be chosen by name", (t) => {
  t.deepEqual(new Set(parse({ tasks: ["CoLA 1k"] }).cells.map(({ task }) => task)), new Set(["CoLA 1k"]));
  t.throws(() => parse({ tasks: ["CoLA"] }), { instanceOf: ConfigError, message: 'study.json has no task "CoLA"' });
});

test("a preset changes tasks, seeds, the values of grids, and settings below those of recipes", (t) => {
  const study = parse({ preset: "small" });
  t.is(study.name, "s-small");
  t.is(study.preset, "small");
  t.is(study.description, "What is asked. On fewer rows.");
  t.deepEqual(names(study), [
    "search: plain on RTE",
    "search: longer, steps 30 on RTE",
    "search: longer, steps 60 on RTE",
    "search: llrd, learningRate 2e-5, decay 0.9 on RTE",
    "search: llrd, learningRate 2e-5, decay 0.95 on RTE",
    "search: llrd, learningRate 5e-5, decay 0.9 on RTE",
    "search: llrd, learningRate 5e-5, decay 0.95 on RTE",
    "search: plain on MRPC",
    "search: longer, steps 30 on MRPC",
    "search: longer, steps 60 on MRPC",
    "table: best on RTE",
    "table: best on MRPC",
  ]);
  const [plain, longer] = study.cells;
  t.deepEqual([plain?.config.trainRows, plain?.config.batchSize, longer?.config.batchSize], [500, 8, 4]);
  t.is(study.cells.find(({ recipe }) => recipe.startsWith("llrd"))?.config.epochs, 1);
  t.is(study.cells.find(({ task }) => task === "MRPC")?.config.maxLength, 64);
  t.true(study.cells.every(({ seeds, config }) => seeds.length === 2 && (config.dropout ?? 0) === 0));
  t.is(plain?.expected, null, "the published numbers are not about it");
});

test("the command line goes on top of a preset", (t) => {
  const { cells } = parse({ preset: "small", overrides: { batchSize: 2, model: "other" } });
  const [plain, ...others] = cells;
  t.deepEqual([plain?.config.batchSize, plain?.config.model], [2, "other"]);
  // What is selected has them already, where they name files.
  t.deepEqual(others.at(-1)?.config, { batchSize: 2 });
});

const refused: [
  what: string,
  change: (study: StudyFile) => void,
  choice: StudyChoice,
  message: RegExp,
  hint: RegExp,
][] = [
  [
    "a preset that does not exist",
    () => {},
    { preset: "smal" },
    /^study\.json has no preset "smal"$/,
    /did you mean "small"/,
  ],
  [
    "a preset of a study without any",
    (study) => delete study.presets,
    { preset: "small" },
    /has no preset "small"/,
    /this study has no presets/,
  ],
  [
    "a preset of a recipe that does not exist",
    (study) => (study.presets!["small"]!.recipes = { lrd: {} }),
    { preset: "small" },
    /presets\.small\.recipes names "lrd", but no stage has that recipe/,
    /did you mean "llrd"/,
  ],
  [
    "a preset of a grid that does not exist",
    (study) => (study.presets!["small"]!.grid = { epochs: [1] }),
    { preset: "small" },
    /presets\.small\.grid has "epochs", but no grid of the study has that key/,
    /there are: steps, optimizer\.learningRate, methods\.0\.decay/,
  ],
  [
    "a wrong key in a preset",
    (study) => (study.presets!["small"]!.base = { trainrows: 1 }),
    { preset: "small" },
    /study\.json: presets\.small\.base: unknown key "trainrows"/,
    /did you mean "trainRows"/,
  ],
  [
    "a grid over a key that does not exist",
    (study) => (study.stages[0]!.recipes[1]!.grid = { stepps: [1] }),
    {},
    /study\.json: stages\[0\]\.recipes\[1\] \(longer\): unknown key "stepps"/,
    /did you mean "steps"/,
  ],
  [
    "a grid over a place that is not there",
    (study) => (study.stages[0]!.recipes[3]!.methods = []),
    {},
    /stages\[0\]\.recipes\[3\] \(llrd\): grid: methods\.0\.decay: methods has 0 items/,
    /^$/,
  ],
  [
    "a grid over a seed",
    (study) => (study.stages[0]!.recipes[1]!.grid = { initSeed: [1, 2] }),
    {},
    /sets initSeed, which the study decides/,
    /stage's seeds/,
  ],
  [
    "a value out of range in a grid",
    (study) => (study.stages[0]!.recipes[3]!.grid = { "methods.0.decay": [0.9, -1] }),
    {},
    /\(llrd\): methods\[0\]\.decay must be/,
    /^$/,
  ],
  [
    "a stage with a task that the study has not",
    (study) => (study.stages[1]!.tasks = ["MRCP"]),
    {},
    /stages\[1\]\.tasks names a task that the study has not, "MRCP"/,
    /did you mean "MRPC"/,
  ],
  [
    "a recipe for a task that the stage has not",
    (study) => (study.stages[1]!.recipes[0]!.tasks = ["CoLA 1k"]),
    {},
    /stages\[1\]\.recipes\[0\] \(best\) is for a task that the stage has not, "CoLA 1k"/,
    /there are: MRPC, RTE/,
  ],
  [
    "a published number for a task that the stage has not",
    (study) => (study.stages[0]!.recipes[0]!.expected = { rte: { test: { mean: 1, source: "x" } } }),
    {},
    /\(plain\) expects numbers for a task that the stage has not, "rte"/,
    /did you mean "RTE"/,
  ],
  [
    "two recipes of one name on one task",
    (study) => (study.stages[0]!.recipes[2]!.tasks = ["RTE"]),
    {},
    /stages\[0\]\.recipes has two entries named "longer" on RTE/,
    /^$/,
  ],
  [
    "a recipe that is called like a point of a grid",
    (study) => study.stages[0]!.recipes.push({ name: "longer, steps 800", steps: 8 }),
    {},
    /study\.json: stages\[0\]\.recipes makes two cells named "longer, steps 800" on RTE$/,
    /points of a grid are named by their values/,
  ],
  [
    "a number and its digits in one grid",
    (study) => {
      const own = { name: "./mine.mjs" };
      study.stages[0]!.recipes.push({ name: "own", methods: [own], grid: { "methods.0.size": [3, "3"] } });
    },
    {},
    /makes two cells named "own, size 3" on RTE/,
    /take a value out/,
  ],
];

for (const [what, change, choice, message, hint] of refused) {
  test(`${what} is refused with its place`, (t) => {
    const study = structuredClone(file);
    change(study);
    const error = t.throws(() => parse(choice, study), { instanceOf: ConfigError, message });
    t.regex(error.hint ?? "", hint);
  });
}

const malformed: [what: string, recipe: object, message: RegExp][] = [
  ["an empty grid", { grid: {} }, /recipes\[0\]\.grid/],
  ["a grid of single values", { grid: { steps: 3 } }, /recipes\[0\]\.grid\.steps must be array, but is 3/],
  ["a value twice in a grid", { grid: { steps: [3, 3] } }, /recipes\[0\]\.grid\.steps/],
  ["a selection without a stage", { select: {} }, /recipes\[0\]\.select lacks "stage"/],
  ["an unknown key of a selection", { select: { stage: "a", recipes: "b" } }, /unknown key "recipes" in .*select/],
  ["numbers without a source", { expected: { RTE: { test: { mean: 3 } } } }, /expected\.RTE\.test lacks "source"/],
];

for (const [what, recipe, message] of malformed) {
  test(`${what} is refused`, (t) => {
    const study = { name: "s", stages: [{ name: "a", recipes: [{ name: "r", ...recipe }], seeds: 1 }] };
    t.throws(() => checkStudy(study, "study.json"), { instanceOf: ConfigError, message });
  });
}

test("the study files of the guide are study files", async (t) => {
  const guide = await readFile(new URL("../../docs/studies.md", import.meta.url), "utf8");
  const blocks = [...guide.matchAll(/```json\n([\s\S]*?)```/g)].map(([, text]) => JSON.parse(text!) as unknown);
  t.is(blocks.length, 2);
  for (const block of blocks) {
    checkStudy(block, "docs/studies.md");
    t.notThrows(() => parse({}, block));
  }
});
