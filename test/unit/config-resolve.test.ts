import { readFileSync } from "node:fs";
import test from "ava";
import { recipeNames, readConfigFile } from "#src/config/file.js";
import { completeConfig, resolveConfig } from "#src/config/resolve.js";
import type { RunConfig } from "#src/config/schema.js";
import { ConfigError } from "#src/errors.js";

const rte: RunConfig = { model: "bert", task: "RTE", data: "glue" };

/** The ConfigError that this input is refused with. */
function refusal(input: unknown): ConfigError {
  try {
    completeConfig(input as RunConfig);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(input)}`);
}

test("the defaults are the paper's", (t) => {
  t.deepEqual(resolveConfig(rte), {
    model: "bert",
    task: "RTE",
    data: "glue",
    init: "checkpoint",
    maxLength: 128,
    evaluateOn: "halves",
    skipBadRows: false,
    epochs: 3,
    batchSize: 32,
    accumulation: 1,
    optimizer: {
      learningRate: 2e-5,
      biasCorrection: true,
      betas: [0.9, 0.999],
      eps: 1e-8,
      maxGradNorm: 1,
      warmup: 0.1,
    },
    methods: [],
    protocol: "paper",
    seed: 0,
    initSeed: 0,
    orderSeed: 0,
    evaluations: 10,
    evaluationBatchSize: 64,
    output: "runs/rte-seed0",
    resume: false,
    keep: "best",
    stateEvery: 60,
    device: "auto",
    dtype: "float32",
    engine: "fused",
    threads: 0,
  });
});

test("a resolved config resolves to itself", (t) => {
  const inputs: RunConfig[] = [
    rte,
    { ...rte, steps: 10, methods: [{ name: "llrd", decay: 0.9 }] },
    { ...rte, seed: 7 },
    { ...rte, initSeed: 3 },
    { ...rte, initSeed: 3, orderSeed: 4 },
    { ...rte, extends: "mosbach" },
  ];
  for (const input of inputs) {
    const resolved = resolveConfig(input);
    t.deepEqual(resolveConfig(resolved), resolved);
    t.deepEqual(JSON.parse(JSON.stringify(resolved)), resolved);
  }
});

test("the input is left as it was", (t) => {
  const input: RunConfig = { ...rte, optimizer: { warmup: 0 } };
  resolveConfig(input);
  t.deepEqual(input, { ...rte, optimizer: { warmup: 0 } });
});

test("keys that are undefined count as not given", (t) => {
  t.deepEqual(resolveConfig({ ...rte, steps: undefined, seed: undefined }), resolveConfig(rte));
});

test("steps take the place of the default of 3 epochs", (t) => {
  const resolved = resolveConfig({ ...rte, steps: 400 });
  t.is(resolved.steps, 400);
  t.false("epochs" in resolved);
});

test("where steps and epochs are both given, steps win", (t) => {
  const both = completeConfig({ steps: 10, epochs: 3 });
  t.is(both.steps, 10);
  t.false("epochs" in both);
});

test("a seed stands for both streams unless they are given apart", (t) => {
  const seeds = ({ seed, initSeed, orderSeed }: RunConfig) => [seed, initSeed, orderSeed];
  t.deepEqual(seeds(resolveConfig({ ...rte, seed: 7 })), [7, 7, 7]);
  t.deepEqual(seeds(resolveConfig({ ...rte, seed: 7, orderSeed: 1 })), [7, 7, 1]);
  t.deepEqual(seeds(resolveConfig({ ...rte, initSeed: 3 })), [0, 3, 0]);
  t.regex(refusal({ seed: 5, initSeed: 1, orderSeed: 2 }).message, /seed 5 has no effect/);
});

test("without an output, the folder is named after the task and its seeds", (t) => {
  t.is(resolveConfig({ ...rte, seed: 4 }).output, "runs/rte-seed4");
  t.is(resolveConfig({ model: "m", data: "in/My Tickets.csv" }).output, "runs/my-tickets-seed0");
  t.is(resolveConfig({ ...rte, initSeed: 1, orderSeed: 2 }).output, "runs/rte-init1-order2");
});

test("a run without model or data is refused and told the flag", (t) => {
  t.like(
    t.throws(() => resolveConfig({ data: "x.csv" }), { instanceOf: ConfigError }),
    { message: "no model is given" },
  );
  const noData = t.throws(() => resolveConfig({ model: "m", task: "RTE" }), { instanceOf: ConfigError });
  t.is(noData.message, "no data is given for RTE");
  t.regex(noData.hint ?? "", /--data FOLDER/);
});

test("an unknown key is refused with the near one", (t) => {
  const near: [unknown, string, string][] = [
    [{ batchsize: 3 }, 'unknown key "batchsize"', 'did you mean "batchSize"?'],
    [{ "batch-size": 3 }, 'unknown key "batch-size"', 'did you mean "batchSize"?'],
    [{ epoch: 3 }, 'unknown key "epoch"', 'did you mean "epochs"?'],
    [
      { optimizer: { learnignRate: 1 } },
      'unknown key "learnignRate" in optimizer',
      'did you mean "optimizer.learningRate"?',
    ],
    [{ learning_rate: 1 }, 'unknown key "learning_rate"', 'did you mean "optimizer.learningRate"?'],
    [{ lr: 1 }, 'unknown key "lr"', 'did you mean "optimizer.learningRate"?'],
    [{ qwertyuiop: 1 }, 'unknown key "qwertyuiop"', "steadytune config schema lists every key"],
    [
      { methods: [{ name: "llrd", decay: 0.9, lamda: 1 }] },
      'unknown key "lamda" in methods[0] (llrd)',
      "llrd takes decay, headDecay",
    ],
  ];
  for (const [input, message, hint] of near) t.like(refusal(input), { message, hint });
});

test("a value of the wrong type or out of range is refused with its key", (t) => {
  const wrong: [unknown, string][] = [
    [{ batchSize: 0 }, "batchSize must be at least 1, but is 0"],
    [{ batchSize: 2.5 }, "batchSize must be an integer, but is 2.5"],
    [{ batchSize: "many" }, 'batchSize must be an integer, but is "many"'],
    [{ steps: -1 }, "steps must be at least 1, but is -1"],
    [{ epochs: 0 }, "epochs must be above 0, but is 0"],
    [{ dropout: 1 }, "dropout must be below 1, but is 1"],
    [{ seed: 2 ** 32 }, "seed must be at most 4294967295, but is 4294967296"],
    [{ optimizer: { learningRate: NaN } }, "optimizer.learningRate must be a number, but is NaN"],
    [{ optimizer: { learningRate: Infinity } }, "optimizer.learningRate must be a number, but is Infinity"],
    [{ optimizer: { learningRate: -1 } }, "optimizer.learningRate must be at least 0, but is -1"],
    [{ optimizer: { betas: [0.9] } }, "optimizer.betas must hold 2 values, but is [0.9]"],
    [{ optimizer: { betas: [0.9, 0.99, 0.999] } }, "optimizer.betas must hold 2 values, but is [0.9,0.99,0.999]"],
    [{ optimizer: { betas: [0.9, 1] } }, "optimizer.betas[1] must be below 1, but is 1"],
    [{ device: "gpu" }, 'device must be one of auto, cpu, cuda, but is "gpu"'],
    [{ model: "" }, "model is empty"],
    [{ accumulation: 8, batchSize: 4 }, "accumulation 8 cuts a batch of 4 rows into more parts than it has rows"],
    [{ accumulation: 64 }, "accumulation 64 cuts a batch of 32 rows into more parts than it has rows"],
    [[], "a config must be an object, but is []"],
  ];
  for (const [input, message] of wrong) t.is(refusal(input).message, message);
});

test("methods are checked by name", (t) => {
  t.like(refusal({ methods: [{ name: "lldr", decay: 0.9 }] }), {
    message: 'methods[0]: unknown method "lldr"',
    hint: 'did you mean "llrd"?',
  });
  t.is(refusal({ methods: [{ name: "llrd" }] }).message, 'methods[0] (llrd) lacks "decay"');
  t.is(refusal({ methods: [{ decay: 1 }] }).message, 'methods[0] lacks "name"');
  t.is(refusal({ methods: [{ name: "llrd", decay: 0 }] }).message, "methods[0].decay must be above 0, but is 0");
  t.is(
    refusal({ methods: [{ name: "freeze", roles: [] }] }).message,
    "methods[0].roles must hold at least 1 value, but is []",
  );
  const twice = { name: "llrd", decay: 0.9 };
  t.is(refusal({ methods: [twice, twice] }).message, 'methods names "llrd" twice');
  const pulls = ["weight-decay", "pretrained-weight-decay"].map((name) => ({ name, lambda: 0.01 }));
  t.regex(refusal({ methods: pulls }).message, /both weight-decay and pretrained-weight-decay/);
});

test("mixout needs a share from 0 to below 1, and names its switches", (t) => {
  const mixout = (changes: object) => ({ methods: [{ name: "mixout", p: 0.5, ...changes }] });
  t.is(refusal(mixout({ p: 1 })).message, "methods[0].p must be below 1, but is 1");
  t.is(refusal(mixout({ p: -0.1 })).message, "methods[0].p must be at least 0, but is -0.1");
  t.is(refusal({ methods: [{ name: "mixout" }] }).message, 'methods[0] (mixout) lacks "p"');
  t.regex(refusal(mixout({ mask: "row" })).message, /methods\[0\]\.mask must be one of element, column/);
  // Recipes set dropout: it is for what mixout leaves of it.
  t.notThrows(() => completeConfig({ ...mixout({}), extends: "paper" } as RunConfig));
});

test("columns are refused where the task has its own", (t) => {
  t.regex(
    refusal({ ...rte, label: "queue" }).message,
    /label names a column, but the columns of the task RTE are known/,
  );
});

test("every recipe that ships resolves and says what it is for", (t) => {
  for (const name of ["mosbach", "original-bert", "paper", "recommended"]) t.true(recipeNames().includes(name), name);
  for (const name of recipeNames()) {
    t.notThrows(() => resolveConfig({ ...rte, extends: name }));
    const file = JSON.parse(readFileSync(`configs/recipes/${name}.json`, "utf8")) as RunConfig;
    t.regex(file.description ?? "", /\w/, name);
  }
});

test("the paper's recipe is the defaults, with the paper's dropout", (t) => {
  t.deepEqual(resolveConfig({ ...rte, extends: "paper" }), { ...resolveConfig(rte), dropout: 0.1 });
});

test("the original BERT differs from the paper in bias correction alone", (t) => {
  const paper = readConfigFile("paper");
  t.deepEqual(readConfigFile("original-bert"), { ...paper, optimizer: { ...paper.optimizer, biasCorrection: false } });
});
