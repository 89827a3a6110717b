import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { encodeExamples } from "#src/data/encode.js";
import { loadTask } from "#src/data/load-task.js";
import type { Example } from "#src/data/task.js";
import { loadTokenizer, type Tokenizer } from "#src/tokenizer/tokenizer.js";
import { dataFolder, outsideData } from "../helpers/data-files.js";

const vocabulary = "test/fixtures/vocab/bert-base-uncased-vocab.txt";

async function bertTokenizer(folder: string): Promise<Tokenizer> {
  await copyFile(vocabulary, join(folder, "vocab.txt"));
  return loadTokenizer(folder);
}

function examples(rows: number): Example[] {
  return Array.from({ length: rows }, (_, i) => ({
    row: 2 * i,
    text: `row number ${i} ${"again ".repeat(i % 7)}`,
    pair: i % 3 === 0 ? `pair ${i}` : null,
    label: i % 2,
  }));
}

const options = { maxLength: 16, problem: "classification" } as const;

test("rows are encoded as the tokenizer encodes them one by one", async (t) => {
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  const rows = examples(5);
  const split = await encodeExamples(tokenizer, rows, options);
  const single = rows.map(({ text, pair }) => tokenizer.encode(text, pair, 16));
  t.deepEqual(
    [...split.tokenIds],
    single.flatMap(({ tokenIds }) => tokenIds),
  );
  t.deepEqual(
    [...split.segmentIds],
    single.flatMap(({ segmentIds }) => segmentIds),
  );
  let offset = 0;
  t.deepEqual([...split.rowOffsets], [0, ...single.map(({ tokenIds }) => (offset += tokenIds.length))]);
  t.deepEqual(split.rowNumbers, Int32Array.of(0, 2, 4, 6, 8));
  t.deepEqual(split.labels, Int32Array.of(0, 1, 0, 1, 0));
});

test("the result does not depend on the number of threads", async (t) => {
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  const rows = examples(2000);
  const here = await encodeExamples(tokenizer, rows, { ...options, workers: 0 });
  for (const workers of [1, 2]) t.deepEqual(await encodeExamples(tokenizer, rows, { ...options, workers }), here);
});

test("progress rises to the number of rows, with and without threads", async (t) => {
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  for (const workers of [0, 2]) {
    const seen: number[] = [];
    const onProgress = (rows: number, total: number) => {
      t.is(total, 1300);
      seen.push(rows);
    };
    await encodeExamples(tokenizer, examples(1300), { ...options, workers, onProgress });
    t.is(seen.at(-1), 1300);
    t.true(seen.length > 1);
    t.deepEqual(
      seen,
      [...seen].sort((a, b) => a - b),
    );
  }
});

test("scores are floats even when all are whole, and missing labels give none", async (t) => {
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  const scores = await encodeExamples(tokenizer, examples(2), { ...options, problem: "regression" });
  t.deepEqual(scores.labels, Float32Array.of(0, 1));
  const without = examples(2).map((example) => ({ ...example, label: null }));
  t.is((await encodeExamples(tokenizer, without, options)).labels, null);
});

test("no rows encode to nothing", async (t) => {
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  const split = await encodeExamples(tokenizer, [], options);
  t.deepEqual([split.tokenIds.length, [...split.rowOffsets]], [0, [0]]);
});

for (const workers of [0, 2]) {
  test(`an abort stops the work with ${workers} threads`, async (t) => {
    const tokenizer = await bertTokenizer(await dataFolder(t, {}));
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    const work = encodeExamples(tokenizer, examples(5000), {
      ...options,
      workers,
      onProgress,
      signal: controller.signal,
    });
    await t.throwsAsync(work, { code: "ERR_ABORTED" });
    await t.throwsAsync(encodeExamples(tokenizer, examples(1), { ...options, workers, signal: controller.signal }), {
      code: "ERR_ABORTED",
    });
  });

  test(`a length that has no room for the special tokens is refused alike with ${workers} threads`, async (t) => {
    const tokenizer = await bertTokenizer(await dataFolder(t, {}));
    await t.throwsAsync(encodeExamples(tokenizer, examples(3), { ...options, maxLength: 2, workers }), {
      code: "ERR_CONFIG",
    });
  });
}

test("a thread that cannot load the tokenizer ends the work with its reason", async (t) => {
  const folder = await dataFolder(t, {});
  const tokenizer = await bertTokenizer(folder);
  const moved: Tokenizer = {
    encode: (text, pair, maxLength) => tokenizer.encode(text, pair, maxLength),
    files: [join(folder, "nowhere", "vocab.txt")],
    vocabularySize: tokenizer.vocabularySize,
  };
  await t.throwsAsync(encodeExamples(moved, examples(3), { ...options, workers: 1 }), {
    code: "ERR_INTERNAL",
    message: /a tokenizer thread failed: no tokenizer in .*nowhere/,
  });
});

test("a text of a megabyte is cut to the longest length in well under a minute", async (t) => {
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  const rows = [
    { row: 0, text: "word ".repeat(200_000), pair: null, label: 0 },
    { row: 1, text: "x".repeat(1_000_000), pair: null, label: 0 },
  ];
  const split = await encodeExamples(tokenizer, rows, options);
  t.deepEqual([...split.rowOffsets], [0, 16, 19]);
});

test("reading and tokenizing all 67,349 SST-2 rows takes less than 20 seconds of all cores together", async (t) => {
  const data = outsideData(t, "glue");
  if (data === null) return;
  const tokenizer = await bertTokenizer(await dataFolder(t, {}));
  // Processor time, threads included: what other test files do at the same time does not count.
  const start = process.cpuUsage();
  const { train } = await loadTask({ task: "SST-2", data, protocol: "paper", seed: 0, evaluateOn: "full" });
  const split = await encodeExamples(tokenizer, train, { maxLength: 128, problem: "classification" });
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  t.is(split.rowNumbers.length, 67349);
  t.log(`${seconds.toFixed(1)} s`);
  t.true(seconds < 20, `${seconds} s`);
});
