import { join } from "node:path";
import test from "ava";
import { loadExamples } from "#src/data/load-examples.js";
import { loadTask } from "#src/data/load-task.js";
import { dataFile, dataFolder } from "../helpers/data-files.js";

const paper = { protocol: "paper", seed: 0 } as const;

/** `rows` lines of text and label, with these labels in turn. */
function csv(rows: number, labels: string[], header = "text,label"): string {
  return (
    `${header}\n` + Array.from({ length: rows }, (_, i) => `some text ${i},${labels[i % labels.length]}\n`).join("")
  );
}

const hintOf = (error: unknown) => (error as { hint?: string }).hint ?? "";

test("one CSV file becomes train, validation and test, in equal proportions of the classes", async (t) => {
  const path = await dataFile(t, "tickets.csv", csv(300, ["billing", "login", "login"], "body,queue"));
  const data = await loadTask({ data: path, text: "body", label: "queue", ...paper });
  t.deepEqual(data.task, {
    name: "tickets",
    problem: "classification",
    labels: ["billing", "login"],
    pairs: false,
    metric: "accuracy",
  });
  t.deepEqual([data.train.length, data.validation.length, data.test.length], [210, 45, 45]);
  for (const split of [data.train, data.validation, data.test]) {
    t.is(split.filter(({ label }) => label === 0).length, split.length / 3);
  }
  const rows = [...data.train, ...data.validation, ...data.test].map(({ row }) => row);
  t.is(new Set(rows).size, 300);
  t.deepEqual(data.train[0], {
    row: data.train[0]!.row,
    text: `some text ${data.train[0]!.row}`,
    pair: null,
    label: data.train[0]!.row % 3 === 0 ? 0 : 1,
  });
  t.deepEqual(data.notes, [
    `${path}: taken for classification, because the labels are 2 different words`,
    `${path}: 45 rows are set apart for validation and 45 for test`,
  ]);
});

test("the cut of own data depends on the seed alone", async (t) => {
  const path = await dataFile(t, "tickets.csv", csv(60, ["a", "b"]));
  const load = (seed: number) => loadTask({ data: path, protocol: "paper", seed });
  t.deepEqual(await load(1), await load(1));
  t.notDeepEqual((await load(1)).test, (await load(2)).test);
});

test("a cut takes at most 1000 rows for each part", async (t) => {
  const path = await dataFile(t, "big.csv", csv(10_000, ["a", "b"]));
  const { train, validation, test } = await loadTask({ data: path, ...paper });
  t.deepEqual([train.length, validation.length, test.length], [8000, 1000, 1000]);
});

test("text and label are found by usual names, and it is said", async (t) => {
  const path = await dataFile(t, "x.csv", csv(30, ["x", "y"], "Review,Sentiment"));
  const { notes } = await loadTask({ data: path, ...paper });
  t.is(notes[0], `${path}: taking column 'Review' as the text, 'Sentiment' as the label`);
});

test("a pair is found by usual names; naming the text alone turns that off", async (t) => {
  const lines = Array.from({ length: 20 }, (_, i) => `p${i},h${i},${i % 2}\n`).join("");
  const path = await dataFile(t, "x.csv", `premise,hypothesis,label\n${lines}`);
  const pairs = await loadTask({ data: path, ...paper });
  t.true(pairs.task.pairs);
  t.is(pairs.train[0]?.pair, `h${pairs.train[0]?.row}`);
  t.is(pairs.notes[0], `${path}: taking column 'premise' and 'hypothesis' as the texts, 'label' as the label`);
  const single = await loadTask({ data: path, text: "premise", ...paper });
  t.false(single.task.pairs);
  const swapped = await loadTask({ data: path, text: "hypothesis", pair: "premise", ...paper });
  t.is(swapped.train[0]?.text, `h${swapped.train[0]?.row}`);
});

test("without usual names the longest texts are the text and what is left over is the label", async (t) => {
  const path = await dataFile(t, "x.csv", csv(30, ["x", "y"], "foo,bar"));
  const { notes } = await loadTask({ data: path, ...paper });
  t.is(notes[0], `${path}: taking column 'foo' as the text, 'bar' as the label`);
});

test("a label column that cannot be told is asked for, with the columns", async (t) => {
  const path = await dataFile(t, "x.csv", "foo,bar,baz\nlong text,1,2\n");
  const error = await t.throwsAsync(loadTask({ data: path, ...paper }), {
    code: "ERR_CONFIG",
    message: /cannot tell which column of .*x\.csv holds the label \(columns: foo, bar, baz\)/,
  });
  t.regex(hintOf(error), /--label/);
});

test("an unknown column is a mistake of the command, answered with the near one", async (t) => {
  const path = await dataFile(t, "x.csv", csv(30, ["x", "y"], "body,queue"));
  const error = await t.throwsAsync(loadTask({ data: path, text: "body", label: "queu", ...paper }), {
    code: "ERR_CONFIG",
    message: /x\.csv has no column 'queu' for label \(columns: body, queue\)/,
  });
  t.is(hintOf(error), "Did you mean --label queue?");
});

test("one column cannot be both text and label", async (t) => {
  const path = await dataFile(t, "x.csv", csv(30, ["x", "y"]));
  await t.throwsAsync(loadTask({ data: path, text: "text", label: "text", ...paper }), {
    code: "ERR_CONFIG",
    message: /column 'text' of .* cannot serve as two/,
  });
});

test("scores make a regression task with a plain random cut", async (t) => {
  const path = await dataFile(t, "x.csv", csv(100, ["0.5", "1", "4.25"], "text,score"));
  const data = await loadTask({ data: path, ...paper });
  t.deepEqual([data.task.problem, data.task.labels, data.task.metric], ["regression", [], "spearman"]);
  t.deepEqual([data.train.length, data.validation.length, data.test.length], [70, 15, 15]);
  t.true(data.notes.some((note) => note.endsWith("taken for regression, because label 0.5 has a fraction")));
});

test("a folder with train, dev and test in different formats is one task", async (t) => {
  const jsonl = Array.from({ length: 6 }, (_, i) => JSON.stringify({ label: i % 2 === 0, text: `t${i}` })).join("\n");
  const folder = await dataFolder(t, {
    "mood.v2/train.csv": csv(20, ["True", "False"]),
    "mood.v2/dev.jsonl": jsonl,
    "mood.v2/test.tsv": "text\tlabel\na\tFALSE\nb\tTRUE\n",
  });
  const data = await loadTask({ data: join(folder, "mood.v2"), ...paper });
  t.is(data.task.name, "mood.v2");
  t.deepEqual(data.task.labels, ["false", "true"]);
  t.deepEqual([data.train.length, data.validation.length, data.test.length], [20, 6, 2]);
  t.deepEqual(
    data.test.map(({ label }) => label),
    [0, 1],
  );
});

test("validation rows without a test file are cut into halves; all of them serve as both when asked for", async (t) => {
  const folder = await dataFolder(t, { "train.csv": csv(20, ["a", "b"]), "validation.csv": csv(10, ["a", "b"]) });
  const halves = await loadTask({ data: folder, ...paper });
  t.deepEqual([halves.train.length, halves.validation.length, halves.test.length], [20, 4, 6]);
  t.true(halves.notes.some((note) => note.endsWith("cut into halves, 4 rows for validation and 6 for test")));
  const full = await loadTask({ data: folder, ...paper, evaluateOn: "full" });
  t.is(full.validation.length, 10);
  t.is(full.test, full.validation);
});

test("halves of validation scores keep both halves equal although every score differs", async (t) => {
  const scores = Array.from({ length: 20 }, (_, i) => String(i / 8 + 0.01));
  const folder = await dataFolder(t, { "train.csv": csv(20, scores), "validation.csv": csv(20, scores) });
  const { validation, test } = await loadTask({ data: folder, ...paper });
  t.deepEqual([validation.length, test.length], [10, 10]);
});

test("a test file without a validation file costs training rows for validation only", async (t) => {
  const folder = await dataFolder(t, { "train.csv": csv(100, ["a", "b"]), "other.csv": csv(7, ["a", "b"]) });
  const { train, validation, test } = await loadTask({
    data: join(folder, "train.csv"),
    test: join(folder, "other.csv"),
    ...paper,
  });
  t.deepEqual([train.length, validation.length, test.length], [84, 16, 7]);
});

test("a subset of own data is balanced over the classes", async (t) => {
  const path = await dataFile(t, "x.csv", csv(300, ["a", "a", "b"]));
  const { train, sources } = await loadTask({ data: path, ...paper, trainRows: 40 });
  t.is(train.filter(({ label }) => label === 1).length, 20);
  t.is(train.length, 40);
  t.regex(sources.train, /x\.csv \(40 of 300 rows\)$/);
});

test("a class too small for its share of a subset is said", async (t) => {
  const path = await dataFile(t, "x.csv", csv(100, ["a", "a", "a", "a", "b"]));
  const { train, notes } = await loadTask({ data: path, ...paper, trainRows: 60 });
  t.is(train.length, 44);
  t.true(notes.some((note) => note.includes("44 training rows in place of 60")));
});

test("validation labels that the training rows lack are named by file and line", async (t) => {
  const folder = await dataFolder(t, { "train.csv": csv(20, ["a", "b"]), "validation.csv": csv(9, ["a", "b", "c"]) });
  await t.throwsAsync(loadTask({ data: folder, ...paper }), {
    code: "ERR_DATA",
    message: /validation\.csv, line 4: unknown label 'c' \(known: a, b\)/,
  });
});

test("a validation file without the training file's columns is named", async (t) => {
  const folder = await dataFolder(t, {
    "train.csv": csv(20, ["a", "b"]),
    "dev.csv": csv(9, ["a", "b"], "texts,label"),
  });
  await t.throwsAsync(loadTask({ data: folder, ...paper }), {
    code: "ERR_CONFIG",
    message: /dev\.csv has no column 'text' for text/,
  });
});

test("one class only, a class per row, and too few rows to cut are refused", async (t) => {
  const load = async (content: string) => loadTask({ data: await dataFile(t, "x.csv", content), ...paper });
  await t.throwsAsync(load(csv(20, ["a"])), { code: "ERR_DATA", message: /every row has the label 'a'/ });
  const each = csv(
    20,
    Array.from({ length: 20 }, (_, i) => `id-${i}`),
  );
  const error = await t.throwsAsync(load(each), {
    code: "ERR_DATA",
    message: /each of the 20 rows has a label of its own/,
  });
  t.regex(hintOf(error), /right column/);
  await t.throwsAsync(load(csv(4, ["a", "b"])), { code: "ERR_DATA", message: /x\.csv has too few rows to be cut/ });
});

test("a file whose labels are all missing is refused", async (t) => {
  const path = await dataFile(t, "x.csv", csv(5, [""]));
  await t.throwsAsync(loadTask({ data: path, ...paper }), {
    code: "ERR_DATA",
    message: /has no labels in column 'label'/,
  });
});

test("rows without a label or text are named by line, or skipped and counted", async (t) => {
  const lines = Array.from({ length: 20 }, (_, i) => JSON.stringify({ text: `t${i}`, label: i % 2 }));
  lines[3] = '{"text":"no label"}';
  lines[5] = '{"label":1}';
  lines[7] = '{"label":1,"text":["a list"]}';
  lines[9] = '{"label":1,"text":"nul \\u0000"}';
  lines[11] = '{"label":1,"text":"half \\ud83d"}';
  const path = await dataFile(t, "x.jsonl", lines.join("\n"));
  await t.throwsAsync(loadTask({ data: path, ...paper }), {
    code: "ERR_DATA",
    message: /x\.jsonl, line 4: no label in column 'label'/,
  });
  const { train, validation, test, notes } = await loadTask({ data: path, ...paper, skipBadRows: true });
  t.is(train.length + validation.length + test.length, 15);
  t.true(notes.includes(`${path}: 5 bad rows skipped (the first: line 4: no label in column 'label')`));
});

for (const [problem, line] of [
  ["no text in column 'text'", '{"label":1}'],
  ["column 'text' does not hold text", '{"label":1,"text":["a list"]}'],
  ["column 'text' holds a NUL character", '{"label":1,"text":"nul \\u0000"}'],
  ["column 'text' holds half a surrogate pair", '{"label":1,"text":"half \\ud83d"}'],
] as const) {
  test(`a row is refused when there is ${problem}`, async (t) => {
    const path = await dataFile(t, "x.jsonl", `{"text":"a","label":0}\n${line}\n`);
    await t.throwsAsync(loadTask({ data: path, ...paper }), {
      code: "ERR_DATA",
      message: `${path}, line 2: ${problem}`,
    });
  });
}

test("Parquet text that is not UTF-8 is named by row", async (t) => {
  const path = "test/fixtures/data/invalid-utf8.parquet";
  await t.throwsAsync(loadTask({ data: path, ...paper }), {
    code: "ERR_DATA",
    message: /invalid-utf8\.parquet, row 2: column 'text' is not valid UTF-8/,
  });
});

test("empty texts are kept, and said with their first line", async (t) => {
  const path = await dataFile(t, "x.csv", csv(20, ["a", "b"]).replace("some text 4", "").replace("some text 7", " "));
  const { train, validation, test, notes } = await loadTask({ data: path, ...paper });
  t.is(train.length + validation.length + test.length, 20);
  t.true(notes.includes(`${path}: an empty text in 2 rows, kept as it is (first: line 6)`));
});

test("texts that stand in training and evaluation rows alike are said", async (t) => {
  const folder = await dataFolder(t, {
    "train.csv": csv(20, ["a", "b"]),
    "validation.csv": csv(3, ["a", "b"]),
    "test.csv": csv(2, ["a", "b"]) + "new,a\n",
  });
  const { notes } = await loadTask({ data: folder, ...paper });
  t.is(
    notes.at(-1),
    "5 of the 6 rows for validation and test repeat a text of the training rows, so scores may be too high",
  );
});

test("a text of a megabyte is read whole", async (t) => {
  const long = "word ".repeat(200_000);
  const path = await dataFile(t, "x.csv", csv(20, ["a", "b"]) + `${long},a\n`);
  const { train, validation, test } = await loadTask({ data: path, ...paper });
  const row = [...train, ...validation, ...test].find(({ row }) => row === 20);
  t.is(row?.text.length, 1_000_000);
});

test("a folder without a training file, with two of them, and no file at all are told apart", async (t) => {
  const folder = await dataFolder(t, { "none/x.csv": "", "two/train.csv": "", "two/train.tsv": "" });
  const load = (data: string) => loadTask({ data: join(folder, data), ...paper });
  await t.throwsAsync(load("none"), { code: "ERR_DATA", message: /none is a directory without a training file/ });
  await t.throwsAsync(load("two"), {
    code: "ERR_DATA",
    message: /two holds more than one train file: train\.csv, train\.tsv/,
  });
  await t.throwsAsync(load("missing.csv"), { code: "ERR_DATA", message: /missing\.csv does not exist/ });
});

test("rows for a trained model are read with its labels, or without any", async (t) => {
  const model = { problem: "classification", labels: ["negative", "positive"] } as const;
  const words = await dataFile(t, "words.csv", csv(4, ["positive", "Negative"]));
  const scored = await loadExamples({ data: words, ...model, labelsNeeded: true });
  t.deepEqual(
    scored.examples.map(({ label }) => label),
    [1, 0, 1, 0],
  );
  const unlabelled = await dataFile(t, "x.jsonl", '{"text":"a"}\n{"text":"b"}\n');
  const { examples } = await loadExamples({ data: unlabelled, ...model, labelsNeeded: false });
  t.deepEqual(examples, [
    { row: 0, text: "a", pair: null, label: null },
    { row: 1, text: "b", pair: null, label: null },
  ]);
  await t.throwsAsync(loadExamples({ data: unlabelled, ...model, labelsNeeded: true }), {
    code: "ERR_CONFIG",
    message: /cannot tell which column .* holds the label/,
  });
});

test("class numbers stand for a model's named classes in order, and that is said", async (t) => {
  const labels = ["negative", "positive"];
  const path = await dataFile(t, "x.csv", csv(4, ["1", "0"]));
  const { examples, notes } = await loadExamples({ data: path, problem: "classification", labels, labelsNeeded: true });
  t.deepEqual(
    examples.map(({ label }) => label),
    [1, 0, 1, 0],
  );
  t.true(notes.includes(`${path}: labels are class numbers of the model (0 negative, 1 positive)`));
  const outside = await dataFile(t, "y.csv", csv(4, ["1", "2"]));
  await t.throwsAsync(loadExamples({ data: outside, problem: "classification", labels, labelsNeeded: true }), {
    code: "ERR_DATA",
    message: /y\.csv, line 2: unknown label '1' \(known: negative, positive\)/,
  });
});
