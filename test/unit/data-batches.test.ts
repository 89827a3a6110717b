import test from "ava";
import { epochBatches, evaluationBatches, packBatch } from "#src/data/batches.js";
import { tokenLengths, type EncodedSplit } from "#src/data/encoded.js";

const split: EncodedSplit = {
  tokenIds: Int32Array.of(101, 7, 102, 101, 102, 101, 8, 9, 102),
  segmentIds: Int32Array.of(0, 0, 0, 0, 0, 0, 0, 1, 1),
  rowOffsets: Int32Array.of(0, 3, 5, 9),
  rowNumbers: Int32Array.of(10, 40, 20),
  labels: Int32Array.of(1, 0, 1),
};

test("an epoch visits each row once, and its last batch holds what is left", (t) => {
  const batches = epochBatches(70, 32, { seed: 1, epoch: 0 });
  t.deepEqual(
    batches.map((batch) => batch.length),
    [32, 32, 6],
  );
  t.deepEqual(
    batches.flatMap((batch) => [...batch]).sort((a, b) => a - b),
    Array.from({ length: 70 }, (_, i) => i),
  );
});

test("the order changes with epoch and seed, and with nothing else", (t) => {
  const order = (seed: number, epoch: number) => epochBatches(50, 8, { seed, epoch }).flatMap((batch) => [...batch]);
  t.deepEqual(order(1, 2), order(1, 2));
  t.notDeepEqual(order(1, 2), order(1, 3));
  t.notDeepEqual(order(1, 2), order(2, 2));
});

test("the order does not change with the batch size", (t) => {
  const order = (size: number) => epochBatches(50, size, { seed: 1, epoch: 0 }).flatMap((batch) => [...batch]);
  t.deepEqual(order(7), order(50));
});

/** Batches of an evaluation over rows of these lengths. */
function evaluated(lengths: readonly number[], batchSize: number): number[][] {
  let end = 0;
  const rowOffsets = Int32Array.from([0, ...lengths.map((length) => (end += length))]);
  return evaluationBatches({ rowOffsets }, batchSize).map((batch) => [...batch]);
}

test("an evaluation visits rows in order", (t) => {
  t.deepEqual(evaluated([2000, 2000, 2000, 2000, 2000], 2), [[0, 1], [2, 3], [4]]);
  t.deepEqual(evaluated([], 2), []);
});

test("rows are put in one batch of an evaluation for as long as they are no more than 2,048 tokens", (t) => {
  t.deepEqual(evaluated([1000, 1000, 48, 1, 2047], 1), [
    [0, 1, 2],
    [3, 4],
  ]);
  t.deepEqual(evaluated([5000, 2049, 1, 1], 1), [[0], [1], [2, 3]]);
});

test("a batch of no rows cannot be asked for", (t) => {
  t.throws(() => epochBatches(5, 0, { seed: 0, epoch: 0 }), { instanceOf: RangeError });
  t.throws(() => evaluated([1], 0), { instanceOf: RangeError });
});

test("a packed batch holds its rows back to back, without padding", (t) => {
  t.deepEqual(packBatch(split, [2, 0]), {
    tokenIds: Int32Array.of(101, 8, 9, 102, 101, 7, 102),
    segmentIds: Int32Array.of(0, 0, 1, 1, 0, 0, 0),
    rowOffsets: Int32Array.of(0, 4, 7),
    rowNumbers: Int32Array.of(20, 10),
    labels: Int32Array.of(1, 1),
  });
});

test("scores stay floats in a packed batch, and rows without labels have none", (t) => {
  const scores = { ...split, labels: Float32Array.of(0.5, 1.5, 2.5) };
  t.deepEqual(packBatch(scores, [1]).labels, Float32Array.of(1.5));
  t.is(packBatch({ ...split, labels: null }, [1]).labels, null);
});

test("a position that is not in the split is refused", (t) => {
  for (const position of [3, -1]) {
    t.throws(() => packBatch(split, [position]), { instanceOf: RangeError, message: /not among the 3 rows/ });
  }
});

test("token lengths are those of the rows", (t) => {
  t.deepEqual(tokenLengths(split, 4), { min: 2, median: 3, mean: 3, p95: 4, max: 4, full: 1 });
});
