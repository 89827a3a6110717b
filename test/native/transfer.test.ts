import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import type { ResolvedConfig, RunConfig } from "#src/config/schema.js";
import { AbortedError, CheckpointError, ConfigError, DivergedError, StateError } from "#src/errors.js";
import { lockFolder } from "#src/files/lock.js";
import { readSafetensors } from "#src/models/safetensors.js";
import type { RunEvent } from "#src/training/events.js";
import { finetune } from "#src/training/finetune.js";
import { prepare } from "#src/training/prepare-run.js";
import { preparedKey } from "#src/training/prepare.js";
import type { RunResult } from "#src/training/result.js";
import { train } from "#src/training/train.js";
import { outsideData } from "../helpers/data-files.js";
import { glueFolder } from "../helpers/glue-files.js";
import { withoutTimes } from "../helpers/run-log.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";

/** RTE (2 classes) after an MNLI stage (3 classes), all made up. */
function rteAfterMnli(folder: string, changes: RunConfig = {}, transfer: RunConfig["transfer"] = {}): ResolvedConfig {
  return tinyConfig(folder, {
    ...{ task: "RTE", data: glueFolder(folder), text: undefined, label: undefined },
    ...{ steps: 12, keep: "none" },
    transfer: { task: "MNLI", evaluateOn: "full", steps: 24, optimizer: { learningRate: 3e-3 }, ...transfer },
    ...changes,
  });
}

const stagesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.startsWith("transfer-"))
    .map((name) => join(folder, name));

const scores = ({ best, last, transfer }: RunResult) => ({ best, last, transfer });

function readJson<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(...path), "utf8")) as T;
}

test("a run starts from the best checkpoint of its intermediate task: encoder and pooler kept, the head drawn anew", async (t) => {
  const folder = temporaryFolder(t);
  const config = rteAfterMnli(folder);
  const events: RunEvent[] = [];
  const result = await finetune(config, { onEvent: (event) => events.push(event) }).result;

  const [stage = ""] = stagesIn(folder);
  const ofStage = readJson<RunResult>(stage, "result.json");
  t.deepEqual(result.transfer, {
    id: stage.split("transfer-")[1],
    task: "MNLI",
    step: ofStage.best?.step,
    metric: "accuracy",
    score: ofStage.best?.validation["accuracy"],
  });
  t.is(ofStage.transfer, null);
  t.deepEqual(withoutTimes(config.output)[0]?.["transfer"], result.transfer);
  t.like(readJson<RunConfig>(config.output, "config.json").transfer, { task: "MNLI", steps: 24, seed: 0 });
  t.is(withoutTimes(stage).filter(({ type }) => type === "evaluation").length, 10);

  const start = events.find((event) => event.type === "start");
  t.deepEqual(start?.initialised, ["classifier.weight", "classifier.bias"]);
  const notes = events.filter((event) => event.type === "note").map(({ message }) => message);
  t.true(notes.some((note) => /classifier has 3 outputs, this task 2: it is not used/.test(note)));
  t.true(notes.some((note) => note.startsWith("Starting from the intermediate task MNLI")));
  t.true(events.some((event) => event.type === "transfer" && event.event.type === "evaluation"));
  t.is(events.filter(({ type }) => type === "end").length, 1, "the stage's events are told from the run's");

  // The weights that the run has before its first step.
  const { tensors } = await readSafetensors(join(stage, "best/model.safetensors"));
  await using prepared = await prepare(config);
  for (const [ours, theirs] of [
    ["embeddings.word.weight", "bert.embeddings.word_embeddings.weight"],
    ["blocks.3.ffn.output.weight", "bert.encoder.layer.3.output.dense.weight"],
    ["pooler.weight", "bert.pooler.dense.weight"],
  ] as const) {
    const values = await prepared.session.readParameter(ours);
    t.true(Buffer.from(values.buffer).equals(Buffer.from(tensors.get(theirs)?.data ?? [])), ours);
  }
});

test("a head with as many classes is kept", async (t) => {
  const folder = temporaryFolder(t);
  const config = rteAfterMnli(folder, {}, { task: "QNLI", steps: 4 });
  const events: RunEvent[] = [];
  await finetune(config, { onEvent: (event) => events.push(event) }).result;
  t.deepEqual(events.find((event) => event.type === "start")?.initialised, []);
  t.true(events.some((event) => event.type === "note" && /classifier .* is kept/.test(event.message)));
  const [stage = ""] = stagesIn(folder);
  const { tensors } = await readSafetensors(join(stage, "best/model.safetensors"));
  await using prepared = await prepare(config);
  const values = await prepared.session.readParameter("classifier.weight");
  t.true(Buffer.from(values.buffer).equals(Buffer.from(tensors.get("classifier.weight")?.data ?? [])));
});

test("the result does not depend on whether the stage was trained now or found, and it is trained once", async (t) => {
  const folder = temporaryFolder(t);
  const first = rteAfterMnli(folder, { output: join(folder, "first"), seed: 1 });
  const second = rteAfterMnli(folder, { output: join(folder, "second"), seed: 2 });
  const again = rteAfterMnli(folder, { output: join(folder, "again"), seed: 1 });
  const trained = await finetune(first).result;
  const [stage = ""] = stagesIn(folder);
  const log = readFileSync(join(stage, "log.jsonl"));
  const other = await finetune(second).result;
  const found = await finetune(again).result;
  t.deepEqual(scores(found), scores(trained));
  t.deepEqual(withoutTimes(again.output), withoutTimes(first.output));
  t.notDeepEqual(scores(other).last, scores(trained).last);
  t.is(stagesIn(folder).length, 1);
  t.true(readFileSync(join(stage, "log.jsonl")).equals(log), "the stage's folder was not touched again");
});

test("two runs that want one stage at once: one trains it, the other waits and then takes it", async (t) => {
  const folder = temporaryFolder(t);
  const waits: string[] = [];
  const run = (name: string) =>
    finetune(rteAfterMnli(folder, { output: join(folder, name) }, { steps: 60 }), {
      onEvent: (event) => event.type === "waiting" && waits.push(event.message),
    }).result;
  const [one, two] = await Promise.all([run("one"), run("two")]);
  t.deepEqual(scores(one), scores(two));
  t.is(waits.length, 1);
  t.regex(waits[0] ?? "", /is training the intermediate task MNLI in .*transfer-/);
  const [stage = ""] = stagesIn(folder);
  t.is(withoutTimes(stage).filter(({ type }) => type === "step").length, 60);
});

test("a run that waits for a stage can be aborted", async (t) => {
  const folder = temporaryFolder(t);
  await finetune(rteAfterMnli(folder, { output: join(folder, "first") })).result;
  const [stage = ""] = stagesIn(folder);
  rmSync(join(stage, "result.json"));
  await using _lock = await lockFolder(stage);
  const stop = new AbortController();
  const run = finetune(rteAfterMnli(folder), {
    signal: stop.signal,
    onEvent: (event) => event.type === "waiting" && stop.abort(),
  });
  await t.throwsAsync(run.result, { instanceOf: AbortedError });
});

const program = fileURLToPath(new URL("../helpers/killable-run.js", import.meta.url));

test("a stage that is killed is gone on with by whoever needs it next, and ends with the bits of an unbroken one", async (t) => {
  const whole = temporaryFolder(t);
  const unbroken = await finetune(rteAfterMnli(whole, {}, { steps: 120 })).result;

  const folder = temporaryFolder(t);
  const killed = { ...rteAfterMnli(folder, { output: join(folder, "one") }, { steps: 120 }), stateEvery: 0.001 };
  const child = spawn(process.execPath, [program, JSON.stringify(killed)], { stdio: "ignore" });
  const state = () => stagesIn(folder).some((stage) => existsSync(join(stage, "state.bin")));
  const watch = setInterval(() => state() && child.kill("SIGKILL"), 5);
  const signal = await new Promise((resolve) => child.on("close", (_code, name) => resolve(name)));
  clearInterval(watch);
  t.is(signal, "SIGKILL");
  const [stage = ""] = stagesIn(folder);
  t.false(existsSync(join(stage, "result.json")), "the kill came in the middle of the stage");

  const resumed: RunEvent[] = [];
  const next = rteAfterMnli(folder, { output: join(folder, "two") }, { steps: 120 });
  const result = await finetune(next, { onEvent: (event) => resumed.push(event) }).result;
  t.true(resumed.some((event) => event.type === "transfer" && event.event.type === "resume"));
  t.deepEqual({ best: result.best, last: result.last }, { best: unbroken.best, last: unbroken.last });
  t.deepEqual(withoutTimes(stage), withoutTimes(stagesIn(whole)[0] ?? ""));
});

test("another stage, other rows of it, or another seed of it make another id; the run's own seed does not", async (t) => {
  const folder = temporaryFolder(t);
  const short = { steps: 2, evaluations: 1 };
  const idOf = async (name: string, changes: RunConfig, transfer: RunConfig["transfer"]) => {
    const run = rteAfterMnli(folder, { output: join(folder, name), steps: 1, ...changes }, { ...short, ...transfer });
    return (await finetune(run).result).transfer?.id;
  };
  const id = await idOf("a", {}, {});
  t.is(await idOf("b", { seed: 5 }, {}), id);
  t.not(await idOf("c", {}, { seed: 5 }), id);
  t.not(await idOf("d", {}, { trainRows: 30 }), id);
  const more = join(temporaryFolder(t), "more");
  t.not(await idOf("e", {}, { data: glueFolder(more, { rows: 93 }) }), id);
  t.is(await idOf("f", {}, { data: glueFolder(join(more, "moved")) }), id, "where files lie does not matter");
});

test("a state of the run is refused once its intermediate task has changed", async (t) => {
  const folder = temporaryFolder(t);
  const config = rteAfterMnli(folder);
  for await (const event of finetune(config)) if (event.type === "step" && event.step === 5) break;
  const lines = readFileSync(join(folder, "glue/MNLI/train.tsv"), "utf8").split("\n");
  writeFileSync(join(folder, "glue/MNLI/train.tsv"), [...lines.slice(0, -2), ""].join("\n"));
  await t.throwsAsync(finetune({ ...config, resume: true }).result, { instanceOf: StateError });
});

test("a stage that diverges ends every run that needs it, by name", async (t) => {
  const folder = temporaryFolder(t);
  const explosive = { optimizer: { learningRate: 1e30, warmup: 0, maxGradNorm: 0 } };
  for (const name of ["one", "two"]) {
    const config = rteAfterMnli(folder, { output: join(folder, name) }, explosive);
    const error = await t.throwsAsync(finetune(config).result, { instanceOf: DivergedError, code: "ERR_DIVERGED" });
    t.regex(error?.message ?? "", /^the intermediate task MNLI diverged: .* at step \d+ of 24$/);
    t.false(existsSync(join(config.output, "result.json")));
  }
});

test("what is wrong with the run comes out before its intermediate task is trained", async (t) => {
  const folder = temporaryFolder(t);
  const wrong: [RunConfig, RegExp][] = [
    [{ methods: [{ name: "reinit", layers: 99 }] }, /layers 99/],
    [{ maxLength: 1000, transfer: { task: "MNLI", evaluateOn: "full", maxLength: 32 } }, /64 positions/],
  ];
  for (const [changes, message] of wrong) {
    const error = await t.throwsAsync(finetune(rteAfterMnli(folder, changes)).result, { instanceOf: ConfigError });
    t.regex(error?.message ?? "", message);
  }
  const frozen = finetune(rteAfterMnli(folder), { methods: [() => ({ nonsense: {} })] }).result;
  await t.throwsAsync(frozen, { message: /"nonsense"/ });
  t.false(stagesIn(folder).some((stage) => existsSync(join(stage, "log.jsonl"))));
});

test("a stage whose weights were removed says so", async (t) => {
  const folder = temporaryFolder(t);
  await finetune(rteAfterMnli(folder, { output: join(folder, "one") })).result;
  rmSync(join(stagesIn(folder)[0] ?? "", "best"), { recursive: true });
  const second = finetune(rteAfterMnli(folder, { output: join(folder, "two") })).result;
  await t.throwsAsync(second, { instanceOf: CheckpointError, message: /but not its weights/ });
});

test("trials on one Prepared share the stage's weights", async (t) => {
  const folder = temporaryFolder(t);
  const trial = (name: string, seed: number) => rteAfterMnli(folder, { output: join(folder, name), seed });
  const alone = await finetune(trial("alone", 4)).result;
  await using prepared = await prepare(trial("first", 3));
  t.is(prepared.key, preparedKey(trial("second", 4)));
  t.not(prepared.key, preparedKey(rteAfterMnli(folder, {}, { steps: 25 })));
  await train(prepared, trial("first", 3), join(folder, "first"));
  const second = await train(prepared, trial("second", 4), join(folder, "second"));
  t.deepEqual(scores(second), scores(alone));
});

test("real rows of SST-2, then of CoLA", async (t) => {
  const glue = outsideData(t, "glue/SST-2/train.tsv");
  if (glue === null) return;
  const config = rteAfterMnli(
    temporaryFolder(t),
    { task: "CoLA", data: resolve(glue, "../.."), trainRows: 100, steps: 3, evaluations: 1 },
    { task: "SST-2", trainRows: 100, steps: 3, evaluations: 1 },
  );
  const { transfer, rows } = await finetune(config).result;
  t.like(transfer, { task: "SST-2", metric: "accuracy", step: 3 });
  t.deepEqual(rows, { train: 100, validation: 521, test: 522 });
});
