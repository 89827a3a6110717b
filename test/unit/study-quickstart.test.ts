import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import test from "ava";
import { readSafetensors } from "#src/models/safetensors.js";
import { readStudyFile } from "#src/study/file.js";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";

interface Rows {
  train: { text: string; label: string }[];
  dev: { text: string; label: string }[];
}

interface Generator {
  acceptabilityRows(): Rows;
  auxiliaryRows(): Rows;
  tsv(rows: Rows["train"]): string;
}

const root = fileURLToPath(new URL("../../", import.meta.url));
const quickstart = join(root, "configs/quickstart");
const generator = (await import(pathToFileURL(join(root, "scripts/make-quickstart/tasks.mjs")).href)) as Generator;
const { train, dev } = generator.acceptabilityRows();

test("the committed sentences are those that the generator draws", (t) => {
  for (const [name, rows] of Object.entries({ train, dev })) {
    t.is(readFileSync(join(quickstart, "acceptability", `${name}.tsv`), "utf8"), generator.tsv(rows));
  }
});

test("half of the sentences are English, and no sentence stands in two places", (t) => {
  for (const rows of [train, dev]) {
    t.is(rows.filter(({ label }) => label === "acceptable").length, rows.length / 2);
  }
  const texts = [...train, ...dev].map(({ text }) => text);
  t.is(new Set(texts).size, texts.length);
});

test("the tiny BERT has learned from none of them", (t) => {
  const auxiliary = generator.auxiliaryRows();
  const known = new Set([...auxiliary.train, ...auxiliary.dev].map(({ text }) => text));
  t.true(known.size > 50_000);
  const shared = [...train, ...dev].filter(({ text }) => known.has(text));
  t.deepEqual(shared, []);
});

test("no single word tells whether a sentence is English", (t) => {
  const rows = [...train, ...dev];
  const bags = rows.map(({ text }) => new Set(text.toLowerCase().match(/[a-z]+/g)));
  const right = rows.map(({ label }) => label === "acceptable");
  for (const word of new Set(bags.flatMap((bag) => [...bag]))) {
    const hits = bags.filter((bag, i) => bag.has(word) === right[i]).length;
    const accuracy = Math.max(hits, rows.length - hits) / rows.length;
    t.true(accuracy < 0.6, `"${word}" alone is right on ${accuracy} of the sentences`);
  }
});

test("the tiny BERT is small, in BF16, without a head, and spells any English text", async (t) => {
  const model = join(quickstart, "model");
  t.true(statSync(join(model, "model.safetensors")).size < 3e6);
  const { tensors } = await readSafetensors(join(model, "model.safetensors"));
  t.deepEqual(new Set([...tensors.values()].map(({ dtype }) => dtype)), new Set(["BF16"]));
  t.false([...tensors.keys()].some((name) => name.startsWith("classifier")));
  const tokenizer = await loadTokenizer(model);
  const text = "My invoice #4711 (due 2024-05-01) wasn't paid; please call back @ 9:30, thanks!";
  t.false(tokenizer.encode(text, null, 128).tokenIds.includes(1), "[UNK]");
});

test("all recipes of the study have one learning rate and one batch size", async (t) => {
  const { cells } = await readStudyFile(join(quickstart, "study.json"));
  t.is(cells.length, 3);
  t.is(new Set(cells.map(({ config }) => `${config.optimizer?.learningRate} ${config.batchSize}`)).size, 1);
  t.deepEqual(
    cells.map(({ config }) => config.optimizer?.biasCorrection ?? true),
    [false, true, true],
  );
});
