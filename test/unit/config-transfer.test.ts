import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { readConfigFile } from "#src/config/file.js";
import { mergeConfigs } from "#src/config/merge.js";
import { completeConfig, resolveConfig } from "#src/config/resolve.js";
import type { RunConfig } from "#src/config/schema.js";
import { applySet } from "#src/config/set.js";
import { ConfigError } from "#src/errors.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";

const rte: RunConfig = { model: "bert", task: "RTE", data: "glue" };

function refusal(input: RunConfig): ConfigError {
  try {
    resolveConfig(input);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(input)}`);
}

test("an intermediate task takes engine, optimizer and batches from its run, and not data, length, seeds or methods", (t) => {
  const run: RunConfig = {
    ...rte,
    steps: 400,
    seed: 7,
    batchSize: 16,
    maxLength: 64,
    dropout: 0.2,
    dtype: "bfloat16",
    engine: "reference",
    optimizer: { learningRate: 5e-5, warmup: 0 },
    methods: [{ name: "llrd", decay: 0.9 }],
    trainRows: 1000,
    selectBy: "accuracy",
    diagnosticsEvery: 10,
    transfer: { task: "MNLI", optimizer: { learningRate: 3e-5 } },
  };
  t.deepEqual(resolveConfig(run).transfer, {
    init: "checkpoint",
    task: "MNLI",
    data: "glue",
    maxLength: 64,
    evaluateOn: "halves",
    skipBadRows: false,
    epochs: 3,
    batchSize: 16,
    accumulation: 1,
    dropout: 0.2,
    optimizer: { ...resolveConfig(rte).optimizer, learningRate: 3e-5, warmup: 0 },
    methods: [],
    protocol: "paper",
    seed: 0,
    initSeed: 0,
    orderSeed: 0,
    evaluations: 10,
    evaluationBatchSize: 64,
    dtype: "bfloat16",
    engine: "reference",
  });
});

test("a config with an intermediate task resolves to itself, also when its run changes later", (t) => {
  const resolved = resolveConfig({ ...rte, transfer: { task: "MNLI", steps: 5 } });
  t.deepEqual(resolveConfig(resolved), resolved);
  const other = resolveConfig(mergeConfigs(resolved, { batchSize: 8, seed: 3 }));
  t.deepEqual(other.transfer, resolved.transfer);
  t.false("transfer" in resolveConfig(rte));
});

test("the folder of GLUE is shared by two GLUE tasks, and by nothing else", (t) => {
  t.is(resolveConfig({ ...rte, transfer: { task: "MNLI", data: "elsewhere" } }).transfer?.data, "elsewhere");
  t.regex(refusal({ model: "m", data: "x.csv", transfer: { task: "MNLI" } }).message, /transfer names no data/);
  t.regex(refusal({ ...rte, transfer: {} }).message, /transfer names no data/);
  t.is(resolveConfig({ ...rte, transfer: { data: "y.csv", label: "l" } }).transfer?.label, "l");
});

test("what contradicts itself is refused before anything is trained", (t) => {
  const refused: [RunConfig, RegExp][] = [
    [{ ...rte, transfer: { task: "rte" } }, /transfer\.task is rte, which is the task of the run itself/],
    [{ ...rte, task: "MNLI", transfer: { task: "MNLI-MM" } }, /which is the task of the run itself/],
    [
      { model: "m", data: "a/x.csv", transfer: { data: "./a/x.csv" } },
      /transfer\.data is .*the data of the run itself/,
    ],
    [{ ...rte, init: "random", transfer: { task: "MNLI" } }, /init is random, but transfer/],
    [{ ...rte, transfer: { task: "MNLI", batchSize: 2, accumulation: 3 } }, /^transfer: accumulation 3 cuts/],
    [{ ...rte, transfer: { task: "MNLI", batchSize: 0 } }, /^transfer\.batchSize must be at least 1/],
    [
      { ...rte, transfer: { task: "MNLI", methods: [{ name: "llrd", decay: 2 }] } },
      /^transfer\.methods\[0\]\.decay must be at most 1/,
    ],
  ];
  for (const [config, message] of refused) t.regex(refusal(config).message, message);
});

test("an intermediate task has no intermediate task, model or output of its own", (t) => {
  const nested = refusal({ ...rte, transfer: { task: "MNLI", transfer: { task: "QQP" } } } as RunConfig);
  t.is(nested.message, 'unknown key "transfer" in transfer');
  t.regex(nested.hint ?? "", /cannot have one of its own/);
  const model = refusal({ ...rte, transfer: { task: "MNLI", model: "other" } } as RunConfig);
  t.regex(model.hint ?? "", /model is that of the run; transfer takes extends, init, task, data/);
  t.is(refusal({ ...rte, transfer: { tsak: "MNLI" } } as RunConfig).hint, 'did you mean "transfer.task"?');
  t.is(refusal({ ...rte, transfer: { lr: 1 } } as RunConfig).hint, 'did you mean "transfer.optimizer.learningRate"?');
});

test("--set reaches the keys of the intermediate task by the rules of a run's own", (t) => {
  const set = (config: RunConfig, ...texts: string[]): RunConfig => texts.reduce(applySet, config);
  t.deepEqual(set({}, "transfer.task=QQP", "transfer.label=5", "transfer.optimizer.learningRate=3e-5").transfer, {
    task: "QQP",
    label: "5",
    optimizer: { learningRate: 3e-5 },
  });
  t.deepEqual(set({ transfer: { epochs: 3 } }, "transfer.steps=10").transfer, { steps: 10 });
  t.deepEqual(set({ transfer: { task: "QQP" } }, "transfer=null"), {});
  t.throws(() => set({}, "transfer.task=QQP", "transfer.task.x=1"), {
    message: "--set transfer.task.x: transfer.task holds no keys",
  });
  t.is(resolveConfig(set(rte, "transfer.task=MNLI")).transfer?.task, "MNLI");
});

test("recipes merge the intermediate task key by key, and it can start from a recipe itself", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "deep"));
  const write = (name: string, config: object) => {
    writeFileSync(join(folder, name), JSON.stringify(config));
    return join(folder, name);
  };
  write("base.json", { transfer: { task: "MNLI", epochs: 2, optimizer: { warmup: 0 } } });
  write("deep/stage.json", { evaluations: 5 });
  const path = write("mine.json", {
    extends: "./base.json",
    transfer: { extends: ["original-bert", "./deep/stage.json"], steps: 50 },
  });
  const { transfer } = completeConfig({ ...readConfigFile(path), ...rte });
  t.like(transfer, { task: "MNLI", steps: 50, evaluations: 5, optimizer: { biasCorrection: false } });
  t.false("epochs" in (transfer ?? {}));
});
