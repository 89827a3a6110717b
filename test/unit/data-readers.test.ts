import { symlink } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { readTable } from "#src/data/read-table.js";
import { findGlueTask } from "#src/data/glue-tasks.js";
import { readGlueTsv } from "#src/data/tsv-glue.js";
import { dataFile, dataFolder } from "../helpers/data-files.js";

const strict = { skipBadRows: false };
const lenient = { skipBadRows: true };
const rte = findGlueTask("RTE")!;
const cola = findGlueTask("CoLA")!;

test("GLUE files split at LF and TAB only: quotes, other line breaks and empty fields are data", async (t) => {
  const path = await dataFile(
    t,
    "train.tsv",
    'index\tsentence1\tsentence2\tlabel\n0\t"open\tb\u2028c\u0085d\ve\tentailment\n1\t\ta, "b\tnot_entailment\n',
  );
  const { rows, columns } = await readGlueTsv(path, rte, strict);
  t.deepEqual(columns, ["index", "sentence1", "sentence2", "label"]);
  t.deepEqual(rows, [
    { row: 0, place: 2, values: ["0", '"open', "b\u2028c\u0085d\ve", "entailment"] },
    { row: 1, place: 3, values: ["1", "", 'a, "b', "not_entailment"] },
  ]);
});

test("a GLUE file may begin with a byte order mark, end without a newline, or have CR LF line ends", async (t) => {
  const path = await dataFile(
    t,
    "train.tsv",
    "\ufeffindex\tsentence1\tsentence2\tlabel\r\n0\ta\tb\tentailment\r\n1\tc\td\tnot_entailment",
  );
  const { rows } = await readGlueTsv(path, rte, strict);
  t.deepEqual(rows[1]?.values, ["1", "c", "d", "not_entailment"]);
});

test("CoLA has no header: its first line is a row, and that is no surprise worth a note", async (t) => {
  const path = await dataFile(t, "train.tsv", "gj04\t1\t\tIt rains.\ngj04\t0\t*\tIt rain.");
  const { rows, notes } = await readGlueTsv(path, cola, strict);
  t.deepEqual(
    rows.map(({ row, place, values }) => [row, place, values[3]]),
    [
      [0, 1, "It rains."],
      [1, 2, "It rain."],
    ],
  );
  t.deepEqual(notes, []);
});

test("a GLUE row with the wrong column count is named by file and line", async (t) => {
  const path = await dataFile(
    t,
    "train.tsv",
    "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\ta b\tentailment\n",
  );
  const error = await t.throwsAsync(readGlueTsv(path, rte, strict), { code: "ERR_DATA" });
  t.is(error?.message, `${path}, line 3: 3 tab-separated columns, expected 4 (index, sentence1, sentence2, label)`);
});

test("bad rows are counted and skipped when asked for, and keep their row numbers", async (t) => {
  const path = await dataFile(t, "train.csv", "text,label\na,1\nb\nc,0\nd,1,2\ne,1\n");
  const { rows, badRows } = await readTable(path, lenient);
  t.deepEqual(
    rows.map(({ row, place, values }) => [row, place, values[0]]),
    [
      [0, 2, "a"],
      [2, 4, "c"],
      [4, 6, "e"],
    ],
  );
  t.deepEqual(badRows.notes(), [`${path}: 2 bad rows skipped (the first: line 3: 1 column, where the header has 2)`]);
});

test("CSV fields may hold commas, quotes and line breaks, and errors still name the line where a row starts", async (t) => {
  const path = await dataFile(
    t,
    "train.csv",
    'text,label\n"a, ""b""\nc",1\n\nplain "quoted" text,0\r\n"two\n\nbreaks",1\nbad\n',
  );
  const { rows } = await readTable(path, lenient);
  t.deepEqual(
    rows.map(({ place, values }) => [place, values]),
    [
      [2, ['a, "b"\nc', "1"]],
      [5, ['plain "quoted" text', "0"]],
      [6, ["two\n\nbreaks", "1"]],
    ],
  );
  await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: /train\.csv, line 9: 1 column,/ });
});

test("a CSV quote that is never closed is an error that names where it opens", async (t) => {
  const path = await dataFile(t, "train.csv", 'text,label\na,1\n"b,0\nc,1\n');
  await t.throwsAsync(readTable(path, lenient), {
    code: "ERR_DATA",
    message: /train\.csv, from line 3: a double quote is opened and never closed/,
  });
});

for (const [name, separator] of [
  ["semicolons", ";"],
  ["tabs", "\t"],
  ["bars", "|"],
] as const) {
  test(`a CSV file separated by ${name} is read as such`, async (t) => {
    const path = await dataFile(t, "train.csv", `"a,b"${separator}label\nx, y${separator}1\n`);
    const { columns, rows } = await readTable(path, strict);
    t.deepEqual(columns, ["a,b", "label"]);
    t.deepEqual(rows[0]?.values, ["x, y", "1"]);
  });
}

test("TSV is read with quoting where quotes pair up", async (t) => {
  const path = await dataFile(t, "train.tsv", 'text\tlabel\n"a\tb"\t1\n"say ""hi"""\t0\n"two\nlines"\t1\n');
  const { rows, notes } = await readTable(path, strict);
  t.deepEqual(
    rows.map(({ values }) => values[0]),
    ["a\tb", 'say "hi"', "two\nlines"],
  );
  t.deepEqual(notes, []);
});

for (const [name, quoted] of [
  ["never closes", ['"open', "b", "c"]],
  ["closes rows later", ['"open', "b", 'closed"']],
] as const) {
  test(`TSV whose quote ${name} is read without quoting, and says so`, async (t) => {
    const path = await dataFile(t, "train.tsv", `text\tlabel\n${quoted.map((text) => `${text}\t1`).join("\n")}\n`);
    const { rows, notes } = await readTable(path, strict);
    t.deepEqual(
      rows.map(({ values }) => values[0]),
      [...quoted],
    );
    t.regex(notes.join(), /double quotes are read as plain characters/);
  });
}

test("JSONL takes its columns from all rows and keeps the types of values", async (t) => {
  const path = await dataFile(t, "train.jsonl", '{"text":"a","label":1}\n\n{"label":true,"text":"b","id":7}\n');
  const { columns, rows } = await readTable(path, strict);
  t.deepEqual(columns, ["text", "label", "id"]);
  t.deepEqual(rows, [
    { row: 0, place: 1, values: ["a", 1, undefined] },
    { row: 1, place: 3, values: ["b", true, 7] },
  ]);
});

test("a JSONL line that is not an object is named by line, or skipped", async (t) => {
  const path = await dataFile(t, "train.jsonl", '{"text":"a","label":1}\n{"text":\n[1]\n');
  await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: /train\.jsonl, line 2: not JSON/ });
  const { rows, badRows } = await readTable(path, lenient);
  t.is(rows.length, 1);
  t.is(badRows.count, 2);
});

test("Parquet files with Snappy and Zstandard give text, numbers, booleans and nulls", async (t) => {
  const reviews = await readTable("test/fixtures/data/reviews-snappy.parquet", strict);
  t.deepEqual(reviews.columns, ["text", "label"]);
  t.deepEqual(
    reviews.rows.map(({ values }) => values),
    [
      ["good", 1n],
      ["naïve, “bad”", 0n],
      ["so\nso", 1n],
      ["日本", 0n],
    ],
  );
  const pairs = await readTable("test/fixtures/data/pairs-zstd.parquet", strict);
  t.deepEqual(pairs.columns, ["premise", "hypothesis", "label", "tags"]);
  t.deepEqual(pairs.rows[1]?.values.slice(0, 3), ["b", "d", false]);
  t.is(pairs.rows[2]?.values[0] ?? null, null);
});

test("a Parquet file that is torn or is something else is refused by name", async (t) => {
  const path = await dataFile(t, "train.parquet", "PAR1 this is not Parquet");
  await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: /train\.parquet is not a Parquet file/ });
});

for (const extension of ["csv", "tsv", "jsonl"]) {
  test(`invalid UTF-8 in ${extension} is refused with its line, even where bad rows are skipped`, async (t) => {
    const content = Buffer.concat([Buffer.from("text,label\nä,1\ncaf"), Buffer.from([0xe9]), Buffer.from(",0\nb,1\n")]);
    const path = await dataFile(t, `train.${extension}`, content);
    await t.throwsAsync(readTable(path, lenient), { code: "ERR_DATA", message: /, line 3: not valid UTF-8/ });
  });

  test(`a NUL byte in ${extension} is refused with its line`, async (t) => {
    const path = await dataFile(t, `train.${extension}`, "text,label\na,1\nb\0,0\n");
    await t.throwsAsync(readTable(path, lenient), { code: "ERR_DATA", message: /, line 3: holds a NUL byte/ });
  });

  test(`an empty ${extension} file is refused`, async (t) => {
    const path = await dataFile(t, `train.${extension}`, "");
    await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: `${path} is empty` });
  });
}

test("invalid UTF-8 and NUL bytes in a GLUE file are refused with their line", async (t) => {
  const header = "index\tsentence1\tsentence2\tlabel\n";
  const latin = await dataFile(t, "latin.tsv", Buffer.from(`${header}0\tcaf\xe9\tb\tentailment\n`, "latin1"));
  await t.throwsAsync(readGlueTsv(latin, rte, lenient), {
    code: "ERR_DATA",
    message: /latin\.tsv, line 2: not valid UTF-8/,
  });
  const nul = await dataFile(t, "nul.tsv", `${header}0\ta\0\tb\tentailment\n`);
  await t.throwsAsync(readGlueTsv(nul, rte, lenient), {
    code: "ERR_DATA",
    message: /nul\.tsv, line 2: holds a NUL byte/,
  });
});

test("UTF-16 is recognised and named", async (t) => {
  const path = await dataFile(t, "train.csv", Buffer.from("\ufefftext,label\na,1\n", "utf16le"));
  const error = await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: /is UTF-16, not UTF-8/ });
  t.regex((error as Error & { hint: string }).hint, /iconv/);
});

test("a file with a header and nothing else holds no rows", async (t) => {
  const path = await dataFile(t, "train.csv", "text,label\n");
  await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: `${path} holds no rows` });
});

test("two columns of one name are refused", async (t) => {
  const path = await dataFile(t, "train.csv", "text,label,text\na,1,b\n");
  await t.throwsAsync(readTable(path, strict), { code: "ERR_DATA", message: /two columns are named 'text'/ });
});

test("a missing file, a directory, a dangling link and an unknown kind of file are told apart", async (t) => {
  const folder = await dataFolder(t, { "folder.csv/x": "", "train.xlsx": "x", train: "x" });
  await symlink(join(folder, "nowhere"), join(folder, "link.csv"));
  const message = async (name: string) => {
    const error = await t.throwsAsync(readTable(join(folder, name), strict), { code: "ERR_DATA" });
    return error?.message.replace(folder, "");
  };
  t.is(await message("missing.csv"), "/missing.csv does not exist");
  t.is(await message("folder.csv"), "/folder.csv is a directory, not a file");
  t.is(await message("link.csv"), "/link.csv does not exist");
  t.is(await message("train.xlsx"), "/train.xlsx: files ending in .xlsx are not supported");
  t.is(await message("train"), "/train: files ending in nothing are not supported");
});
