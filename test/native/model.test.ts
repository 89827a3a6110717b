import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { AbortedError, CheckpointError, ConfigError, DataError, SteadytuneError } from "#src/errors.js";
import { finetune } from "#src/training/finetune.js";
import { loadModel } from "#src/training/model.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { ticketsFile, tinyConfig, tinyModel } from "../helpers/tiny-run.js";

const queues = ["billing", "delivery", "login", "returns"];

async function trained(folder: string): Promise<string> {
  const config = tinyConfig(folder, { steps: 60, optimizer: { learningRate: 1e-2 } });
  await finetune(config).result;
  return config.output;
}

test("the saved best checkpoint predicts what the run's predictions say", async (t) => {
  const output = await trained(temporaryFolder(t));
  await using model = await loadModel(join(output, "best"), { threads: 1 });
  t.deepEqual(model.labels, queues);
  t.is(model.maxLength, 32, "the length that the run cut its rows to");

  const texts = readFileSync(ticketsFile, "utf8").trimEnd().split("\n").slice(1);
  const recorded = readFileSync(join(output, "predictions.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { row: number; label: string; probabilities: Record<string, number> });
  const predictions = await model.predict(recorded.map(({ row }) => texts[row]?.replace(/,\w+$/, "") ?? ""));
  predictions.forEach((prediction, i) => {
    const expected = recorded[i]!;
    if (!("label" in prediction)) return t.fail("a classifier gives labels");
    t.is(prediction.label, expected.label);
    for (const queue of queues) {
      t.true(Math.abs((prediction.probabilities[queue] ?? NaN) - (expected.probabilities[queue] ?? NaN)) < 1e-5);
    }
  });
});

test("probabilities sum to one, and the label is the most probable class", async (t) => {
  const output = await trained(temporaryFolder(t));
  await using model = await loadModel(join(output, "best"), { threads: 1 });
  const [one, pair, named] = await model.predict([
    "my password and code",
    ["the parcel", "is late"],
    { text: "a refund please", pair: null },
  ]);
  for (const prediction of [one, pair, named]) {
    if (!prediction || !("label" in prediction)) return t.fail("a classifier gives labels");
    const { label, probabilities } = prediction;
    t.true(Math.abs(Object.values(probabilities).reduce((a, b) => a + b) - 1) < 1e-12);
    t.is(probabilities[label], Math.max(...Object.values(probabilities)));
  }
  t.deepEqual(await model.predict([]), []);
});

test("a file of labelled rows is scored with interval and majority baseline", async (t) => {
  const output = await trained(temporaryFolder(t));
  await using model = await loadModel(join(output, "best"), { threads: 1 });
  const { rows, scores, interval, majority, metric } = await model.evaluate({
    data: ticketsFile,
    text: "body",
    label: "queue",
  });
  t.is(rows, 160);
  t.is(metric, "accuracy");
  t.is(majority, 0.25);
  const accuracy = scores["accuracy"] ?? NaN;
  t.true(accuracy > 0.7);
  t.true(interval !== null && interval[0] <= accuracy && accuracy <= interval[1]);
});

test("rows with a label that the model does not know are refused", async (t) => {
  const folder = temporaryFolder(t);
  const output = await trained(folder);
  await using model = await loadModel(join(output, "best"), { threads: 1 });
  const data = join(folder, "other.csv");
  writeFileSync(data, "body,queue\nwhere is it,delivery\nhello,greetings\n");
  await t.throwsAsync(model.evaluate({ data, text: "body", label: "queue" }), {
    instanceOf: DataError,
    message: /greetings/,
  });
});

test("a checkpoint without a trained classifier cannot predict", async (t) => {
  const folder = temporaryFolder(t);
  const model = tinyModel(folder);
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as Record<string, unknown>;
  delete config["id2label"];
  delete config["label2id"];
  writeFileSync(join(model, "config.json"), JSON.stringify({ ...config, num_labels: 2 }));
  await t.throwsAsync(loadModel(model), { instanceOf: CheckpointError, message: /no trained classifier/ });
  rmSync(join(model, "config.json"));
  await t.throwsAsync(loadModel(model), { instanceOf: CheckpointError });
});

test("what is no text is refused by its place in the list", async (t) => {
  await using model = await loadModel(join(await trained(temporaryFolder(t)), "best"), { threads: 1 });
  const predict = (texts: unknown) => model.predict(texts as string[]);
  await t.throwsAsync(predict("where is my order"), { instanceOf: ConfigError, message: /takes a list of texts/ });
  for (const wrong of [3, null, {}, { txt: "a" }, ["a", 1], ["a", "b", "c"], []]) {
    await t.throwsAsync(predict(["where", wrong]), {
      instanceOf: DataError,
      message: /^input 1 is neither a text nor/,
    });
  }
  t.is(
    (await model.predict(["a", ["a", "b"], { text: "a" }, { text: "a", pair: null }, { text: "a", pair: "b" }])).length,
    5,
  );
});

test("lengths and batch sizes that make no sense are refused", async (t) => {
  const model = tinyModel(temporaryFolder(t));
  await t.throwsAsync(loadModel(model, { maxLength: 65 }), { instanceOf: ConfigError, message: /64 positions/ });
  await t.throwsAsync(loadModel(model, { batchSize: 0 }), { instanceOf: ConfigError, message: /batchSize/ });
});

test("prediction stops on a signal, and a disposed model says so", async (t) => {
  const model = await loadModel(tinyModel(temporaryFolder(t)), { threads: 1 });
  await t.throwsAsync(model.predict(["hello"], { signal: AbortSignal.abort() }), { instanceOf: AbortedError });
  await model.dispose();
  await t.throwsAsync(model.predict(["hello"]), { instanceOf: SteadytuneError, code: "ERR_DISPOSED" });
});
