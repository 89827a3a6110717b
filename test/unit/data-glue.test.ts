import { readFileSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { describeTask } from "#src/data/describe.js";
import { loadTask } from "#src/data/load-task.js";
import type { Example } from "#src/data/task.js";
import { dataFolder, outsideData } from "../helpers/data-files.js";

/** Row numbers, made with NumPy and torch; test/fixtures/golden/README.md tells how. */
interface Splits {
  train_rows: number;
  dev_rows: number;
  validation?: number[];
  test?: number[];
  train_1k: number[];
  validation_1k_from_train?: number[];
}

const splits = JSON.parse(readFileSync("test/fixtures/golden/data/splits.json", "utf8")) as Record<string, Splits>;
const paper = { protocol: "paper", seed: 0 } as const;
const rowsOf = (examples: Example[]) => examples.map(({ row }) => row);

for (const [task, expected] of Object.entries(splits)) {
  test(`${task} and ${task} 1k are cut into the paper's rows`, async (t) => {
    const data = outsideData(t, "glue");
    if (data === null) return;
    const full = await loadTask({ task, data, ...paper });
    const small = await loadTask({ task, data, ...paper, trainRows: 1000 });
    t.deepEqual(rowsOf(small.train), expected.train_1k);
    if (expected.validation_1k_from_train === undefined) {
      t.is(full.train.length, expected.train_rows);
      t.deepEqual(rowsOf(full.validation), expected.validation);
      t.deepEqual(rowsOf(full.test), expected.test);
    } else {
      t.is(full.train.length, expected.train_rows - 1000);
      t.deepEqual(rowsOf(full.validation), expected.validation_1k_from_train);
      t.is(full.test.length, expected.dev_rows);
    }
    t.deepEqual(rowsOf(small.validation), rowsOf(full.validation));
    t.deepEqual(rowsOf(small.test), rowsOf(full.test));
    t.deepEqual(small.notes, []);
  });

  test(`all rows of ${task}'s dev set serve as both validation and test when asked for`, async (t) => {
    const data = outsideData(t, "glue");
    if (data === null) return;
    const whole = await loadTask({ task, data, ...paper, evaluateOn: "full" });
    t.is(whole.train.length, expected.train_rows);
    t.deepEqual(
      rowsOf(whole.validation),
      Array.from({ length: expected.dev_rows }, (_, i) => i),
    );
    t.is(whole.test, whole.validation);
  });
}

test("class counts of the real files are those that their readers counted", async (t) => {
  const data = outsideData(t, "glue");
  if (data === null) return;
  const counts = async (task: string) => {
    const { splits } = describeTask(await loadTask({ task, data, ...paper, evaluateOn: "full" }));
    return [splits[0], splits[1]].map((split) =>
      Object.fromEntries(split!.labels.map(({ label, rows }) => [label, rows])),
    );
  };
  t.deepEqual(await counts("RTE"), [
    { entailment: 1249, not_entailment: 1241 },
    { entailment: 146, not_entailment: 131 },
  ]);
  t.deepEqual(await counts("MRPC"), [
    { not_equivalent: 1194, equivalent: 2474 },
    { not_equivalent: 129, equivalent: 279 },
  ]);
  t.deepEqual(await counts("CoLA"), [
    { unacceptable: 2528, acceptable: 6023 },
    { unacceptable: 322, acceptable: 721 },
  ]);
  t.deepEqual(await counts("SST-2"), [
    { negative: 29780, positive: 37569 },
    { negative: 428, positive: 444 },
  ]);
});

test("majority baselines of the real halves are those of the paper's Table 3", async (t) => {
  const data = outsideData(t, "glue");
  if (data === null) return;
  const percent = (value: number | undefined) => Math.round((value ?? 0) * 1000) / 10;
  const rte = describeTask(await loadTask({ task: "RTE", data, ...paper }));
  t.deepEqual(
    rte.splits.slice(1).map(({ majority }) => percent(majority?.accuracy)),
    [52.9, 52.5],
  );
  const mrpc = describeTask(await loadTask({ task: "MRPC", data, ...paper }));
  t.deepEqual(
    mrpc.splits.slice(1).map(({ majority }) => percent(majority?.f1)),
    [81.3, 81.2],
  );
});

test("the real QNLI dev set reads with its quotes as plain characters", async (t) => {
  const dev = outsideData(t, "glue/QNLI/dev.tsv");
  if (dev === null) return;
  // Only the dev set is at hand, so it stands in for train.tsv too.
  const folder = await dataFolder(t, {});
  await mkdir(join(folder, "QNLI"));
  await copyFile(dev, join(folder, "QNLI/train.tsv"));
  await copyFile(dev, join(folder, "QNLI/dev.tsv"));
  const task = await loadTask({ task: "QNLI", data: folder, ...paper, evaluateOn: "full" });
  const [, validation] = describeTask(task).splits;
  t.deepEqual(validation?.labels, [
    { label: "entailment", rows: 2702 },
    { label: "not_entailment", rows: 2761 },
  ]);
  t.true(task.validation.some(({ text, pair }) => `${text} ${pair}`.includes('"')));
});

test("the part of QQP without a header reads by position, and its broken row is named or skipped", async (t) => {
  const part = outsideData(t, "glue/QQP/train_part.tsv");
  if (part === null) return;
  const folder = await dataFolder(t, {});
  await copyFile(part, join(folder, "train.tsv"));
  await copyFile(part, join(folder, "dev.tsv"));
  const options = { task: "QQP", data: folder, ...paper, trainRows: 1000 };
  await t.throwsAsync(loadTask(options), {
    code: "ERR_DATA",
    message: /train\.tsv, line 1: 5 tab-separated columns, expected 6 \(id, qid1, /,
  });
  const task = await loadTask({ ...options, skipBadRows: true });
  t.is(task.test.length, 23496);
  t.is(task.validation.length, 1000);
  t.true(task.notes.some((note) => /train\.tsv: 1 bad row skipped \(line 1: 5 tab/.test(note)));
  t.true(task.notes.some((note) => /train\.tsv has no header/.test(note)));
});
