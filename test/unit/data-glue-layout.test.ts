import { join } from "node:path";
import test from "ava";
import { findGlueTask, glueTasks } from "#src/data/glue-tasks.js";
import { loadTask } from "#src/data/load-task.js";
import { halves } from "#src/data/splits.js";
import { releasedDevOrder } from "#src/data/subsets.js";
import { dataFolder } from "../helpers/data-files.js";

const paper = { protocol: "paper", seed: 0 } as const;

const rteHeader = "index\tsentence1\tsentence2\tlabel\n";

/** `rows` lines in RTE's layout, with the classes in turn. */
function rte(rows: number, from = 0): string {
  const label = (i: number) => (i % 2 === 0 ? "entailment" : "not_entailment");
  return (
    rteHeader + Array.from({ length: rows }, (_, i) => `${i}\ttext ${from + i}\tpair ${i}\t${label(i)}\n`).join("")
  );
}

function sst2(rows: number): string {
  return "sentence\tlabel\n" + Array.from({ length: rows }, (_, i) => `text ${i} \t${i % 2}\n`).join("");
}

function mnli(rows: number, labelColumns: number): string {
  const names = glueTasks.find(({ name }) => name === "MNLI")!.columns.slice(0, 10);
  const extra = Array.from({ length: labelColumns }, (_, i) => `label${i + 1}`);
  const classes = ["neutral", "contradiction", "entailment"];
  const lines = Array.from({ length: rows }, (_, i) => {
    const gold = classes[i % 3]!;
    return [
      i,
      "p",
      "q",
      "g",
      "( s )",
      "( s )",
      "(S)",
      "(S)",
      `premise ${i}`,
      `hypothesis ${i}`,
      ...extra.map(() => gold),
      gold,
    ];
  });
  return [[...names, ...extra, "gold_label"], ...lines].map((fields) => fields.join("\t") + "\n").join("");
}

test("a GLUE task is found by name however it is spelled", (t) => {
  for (const name of ["SST-2", "sst2", "Sst_2"]) t.is(findGlueTask(name)?.name, "SST-2");
  t.is(findGlueTask("stsb")?.name, "STS-B");
  t.is(findGlueTask("sst"), undefined);
});

test("metrics are those of the paper's Table 3", (t) => {
  t.deepEqual(Object.fromEntries(glueTasks.map(({ name, metric }) => [name, metric])), {
    RTE: "accuracy",
    MRPC: "f1",
    "STS-B": "spearman",
    CoLA: "matthews",
    "SST-2": "accuracy",
    QNLI: "accuracy",
    QQP: "f1",
    MNLI: "accuracy",
    "MNLI-MM": "accuracy",
  });
});

test("a task is read from its folder in the archive, or from the folder itself", async (t) => {
  const files = { "RTE/train.tsv": rte(8), "RTE/dev.tsv": rte(9) };
  const folder = await dataFolder(t, files);
  const one = await loadTask({ task: "RTE", data: folder, ...paper });
  const two = await loadTask({ task: "rte", data: join(folder, "RTE"), ...paper });
  t.deepEqual(one, two);
  t.deepEqual(one.train[0], { row: 0, text: "text 0", pair: "pair 0", label: 0 });
  t.deepEqual(one.task, {
    name: "RTE",
    problem: "classification",
    labels: ["entailment", "not_entailment"],
    pairs: true,
    metric: "accuracy",
  });
  t.deepEqual([one.validation.length, one.test.length], [4, 5]);
  t.deepEqual(one.files, [join(folder, "RTE/train.tsv"), join(folder, "RTE/dev.tsv")]);
  t.is(one.sources.test, `${join(folder, "RTE/dev.tsv")} (5 of 9 rows)`);
});

test("the splits of GLUE do not depend on the seed", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": rte(8), "dev.tsv": rte(9) });
  const load = (seed: number) => loadTask({ task: "RTE", data: folder, protocol: "paper", seed });
  t.deepEqual(await load(0), await load(1));
});

test("MNLI reads the gold label from train and from both dev sets, which have more columns", async (t) => {
  const folder = await dataFolder(t, {
    "MNLI/train.tsv": mnli(3006, 1),
    "MNLI/dev_matched.tsv": mnli(12, 5),
    "MNLI/dev_mismatched.tsv": mnli(15, 5),
  });
  const matched = await loadTask({ task: "MNLI", data: folder, ...paper, trainRows: 1000 });
  t.is(matched.train.length, 999);
  t.is(matched.validation.length, 999);
  t.is(matched.test.length, 12);
  t.deepEqual(matched.test[1], { row: 1, text: "premise 1", pair: "hypothesis 1", label: 0 });
  t.deepEqual(matched.notes, []);
  const mismatched = await loadTask({ task: "MNLI-MM", data: folder, ...paper, trainRows: 1000 });
  t.is(mismatched.test.length, 15);
  t.deepEqual(mismatched.train, matched.train);
});

test("a large task's extra validation rows are never training rows", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": sst2(1404), "dev.tsv": sst2(10) });
  const load = (trainRows?: number) => loadTask({ task: "SST-2", data: folder, ...paper, trainRows });
  for (const trainRows of [400, undefined]) {
    const { train, validation } = await load(trainRows);
    t.is(validation.length, 1000);
    t.is(train.length, trainRows ?? 404);
    t.is(new Set([...train, ...validation].map(({ row }) => row)).size, train.length + 1000);
  }
  await t.throwsAsync(load(406), {
    code: "ERR_DATA",
    message: /has a class of 702 rows, and training and validation together need 703 of each class/,
  });
});

test("the released protocol cuts another dev order in runs on a subset, and in no others", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": rte(40), "dev.tsv": rte(41) });
  const load = (protocol: "paper" | "released", trainRows?: number) =>
    loadTask({ task: "RTE", data: folder, protocol, seed: 0, trainRows });
  t.deepEqual(await load("released"), await load("paper"));
  const released = await load("released", 10);
  const labels = Array.from({ length: 41 }, (_, i) => i % 2);
  const order = releasedDevOrder("classification", labels, 10);
  const parts = halves(order.map((position) => labels[position]!));
  t.deepEqual(
    released.validation.map(({ row }) => row),
    parts.validation.map((position) => order[position]!),
  );
  t.notDeepEqual(released.validation, (await load("paper", 10)).validation);
});

test("files that are named stand in for what would be cut", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": rte(8), "dev.tsv": rte(9, 100), "more.tsv": rte(5, 200) });
  const more = join(folder, "more.tsv");
  const load = (options: { validation?: string; test?: string }) =>
    loadTask({ task: "RTE", data: folder, ...paper, ...options });
  const validated = await load({ validation: more });
  t.deepEqual([validated.validation.length, validated.test.length], [5, 9]);
  const tested = await load({ test: more });
  t.deepEqual([tested.validation.length, tested.test.length], [9, 5]);
  const both = await load({ validation: more, test: more });
  t.deepEqual([both.validation.length, both.test.length], [5, 5]);
  t.false(both.files.includes(join(folder, "dev.tsv")));
});

test("a named validation file keeps a large task's training rows whole", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": sst2(20), "dev.tsv": sst2(10), "more.tsv": sst2(6) });
  const { train, validation, test } = await loadTask({
    task: "SST-2",
    data: folder,
    ...paper,
    validation: join(folder, "more.tsv"),
  });
  t.deepEqual([train.length, validation.length, test.length], [20, 6, 10]);
});

test("STS-B reads scores, and one that is not a number is named by line", async (t) => {
  const header = findGlueTask("STS-B")!.columns.join("\t") + "\n";
  const line = (score: string) => `0\tg\tf\ty\to\ts\ts\tone\ttwo\t${score}\n`;
  const good = ["5.000", "3", "1.53333333333333", "3"].map(line).join("");
  const folder = await dataFolder(t, { "good/train.tsv": header + good, "good/dev.tsv": header + good });
  const { task, train } = await loadTask({ task: "STS-B", data: join(folder, "good"), ...paper });
  t.deepEqual([task.problem, task.labels, task.metric], ["regression", [], "spearman"]);
  t.deepEqual(
    train.map(({ label }) => label),
    [5, 3, 1.53333333333333, 3],
  );
  const bad = await dataFolder(t, { "train.tsv": header + line("5.0") + line("high"), "dev.tsv": header + good });
  await t.throwsAsync(loadTask({ task: "STS-B", data: bad, ...paper }), {
    code: "ERR_DATA",
    message: /train\.tsv, line 3: label 'high' is not a number/,
  });
});

test("an unknown task is a mistake of the command, answered with the near one", async (t) => {
  const folder = await dataFolder(t, {});
  const error = await t.throwsAsync(loadTask({ task: "RTF", data: folder, ...paper }), {
    code: "ERR_CONFIG",
    message: /unknown task 'RTF' \(known: RTE, MRPC, /,
  });
  t.is((error as Error & { hint: string }).hint, "Did you mean RTE?");
});

test("a GLUE task with a file in place of a folder is answered with both ways out", async (t) => {
  const folder = await dataFolder(t, { "rte.csv": "text,label\na,1\n" });
  const error = await t.throwsAsync(loadTask({ task: "RTE", data: join(folder, "rte.csv"), ...paper }), {
    code: "ERR_CONFIG",
    message: /the GLUE task RTE is read from a folder/,
  });
  t.regex((error as Error & { hint: string }).hint, /leave out the task/);
});

test("a missing folder or file of a GLUE task is named", async (t) => {
  const folder = await dataFolder(t, { "RTE/train.tsv": rte(8) });
  await t.throwsAsync(loadTask({ task: "RTE", data: folder, ...paper }), {
    code: "ERR_DATA",
    message: /RTE\/dev\.tsv does not exist/,
  });
  await t.throwsAsync(loadTask({ task: "CoLA", data: folder, ...paper }), {
    code: "ERR_DATA",
    message: /no CoLA data: neither CoLA\/train\.tsv nor train\.tsv is in/,
  });
});

test("an unknown class in a GLUE file is named by line, with the known ones", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": rte(3) + "3\ta\tb\tmaybe\n", "dev.tsv": rte(9) });
  const load = (skipBadRows: boolean) => loadTask({ task: "RTE", data: folder, ...paper, skipBadRows });
  await t.throwsAsync(load(false), {
    code: "ERR_DATA",
    message: /train\.tsv, line 5: unknown label 'maybe' \(known: entailment, not_entailment\)/,
  });
  t.is((await load(true)).train.length, 3);
});

test("a header without one of the task's columns is refused", async (t) => {
  const header = "index\tsentence1\thypothesis\tlabel\n";
  const folder = await dataFolder(t, { "train.tsv": header + "0\ta\tb\tentailment\n", "dev.tsv": rte(9) });
  await t.throwsAsync(loadTask({ task: "RTE", data: folder, ...paper }), {
    code: "ERR_DATA",
    message: /train\.tsv, line 1: the header has no column 'sentence2'/,
  });
});

test("fewer rows than classes, and one class only, are refused", async (t) => {
  const load = async (train: string) =>
    loadTask({ task: "RTE", data: await dataFolder(t, { "train.tsv": train, "dev.tsv": rte(9) }), ...paper });
  await t.throwsAsync(load(rte(1)), { code: "ERR_DATA", message: /train\.tsv has 1 row, fewer than its 2 classes/ });
  const one = rteHeader + "0\ta\tb\tentailment\n".repeat(3);
  await t.throwsAsync(load(one), { code: "ERR_DATA", message: /every row has the label 'entailment'/ });
});

test("a subset larger than the training rows or smaller than the classes is refused", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": rte(8), "dev.tsv": rte(9) });
  const load = (trainRows: number) => loadTask({ task: "RTE", data: folder, ...paper, trainRows });
  await t.throwsAsync(load(9), {
    code: "ERR_CONFIG",
    message: /trainRows is 9, and .*train\.tsv has 8 rows to train on/,
  });
  await t.throwsAsync(load(1), { code: "ERR_CONFIG", message: /trainRows is 1, fewer than the 2 classes/ });
});

test("a dev set of one row cannot be halved", async (t) => {
  const folder = await dataFolder(t, { "train.tsv": rte(8), "dev.tsv": rte(1) });
  await t.throwsAsync(loadTask({ task: "RTE", data: folder, ...paper }), {
    code: "ERR_DATA",
    message: /dev\.tsv has too few rows to be cut into halves/,
  });
});
