import { readFileSync } from "node:fs";
import test from "ava";
import { cut, groupByLabel, halves } from "#src/data/splits.js";
import { balancedSubset, extraValidation, regressionSubset, releasedDevOrder } from "#src/data/subsets.js";

interface Halves {
  validation: number[];
  test: number[];
}

interface Reference {
  labels: number[];
  rows: number;
  halves: Halves;
  subset: number[];
  releasedHalves: Halves;
}

// Written by scripts/fixtures/make-splits-reference.py with NumPy and torch, on made-up labels.
const reference = JSON.parse(readFileSync("test/fixtures/data/splits-reference.json", "utf8")) as {
  classification: (Reference & { extra: { train: number[]; validation: number[] } })[];
  regression: Reference[];
};

function mapped(parts: Halves, order: number[]): Halves {
  const original = (position: number) => order[position]!;
  return { validation: parts.validation.map(original), test: parts.test.map(original) };
}

for (const { labels, rows, ...expected } of reference.classification) {
  const name = `${new Set(labels).size} classes`;

  test(`the halves of ${name} equal those drawn with NumPy`, (t) => {
    t.deepEqual(halves(labels), expected.halves);
  });

  test(`the balanced subset of ${name} equals the one drawn with NumPy`, (t) => {
    t.deepEqual(balancedSubset(labels, rows), expected.subset);
  });

  test(`the extra validation rows of ${name} equal those drawn with NumPy, and are no training rows`, (t) => {
    const parts = extraValidation(labels, rows);
    t.deepEqual(parts, expected.extra);
    t.deepEqual(
      [...parts.train, ...parts.validation].sort((a, b) => a - b),
      [...labels.keys()],
    );
  });

  test(`the released code's other halves of ${name} equal those drawn with NumPy`, (t) => {
    const order = releasedDevOrder("classification", labels, rows);
    const reordered = order.map((position) => labels[position]!);
    t.deepEqual(mapped(halves(reordered), order), expected.releasedHalves);
    t.notDeepEqual(expected.releasedHalves, expected.halves);
  });
}

for (const { labels, rows, ...expected } of reference.regression) {
  test("the halves of scores equal those drawn with NumPy, grouped by distinct score", (t) => {
    t.deepEqual(halves(labels), expected.halves);
    t.true(expected.halves.validation.length < expected.halves.test.length);
  });

  test("the subset of a regression task equals the front of torch.randperm", (t) => {
    t.deepEqual(regressionSubset(labels.length, rows), expected.subset);
  });

  test("the released code scores a regression subset on other and fewer rows", (t) => {
    const order = releasedDevOrder("regression", labels, rows);
    t.is(order.length, rows);
    t.deepEqual(mapped(halves(order.map((position) => labels[position]!)), order), expected.releasedHalves);
  });
}

test("scores that are one number in float32 are one group, as in the released code", (t) => {
  t.is(Math.fround(0.2), Math.fround(0.2 + 1e-9));
  t.deepEqual([halves([0.2, 0.2 + 1e-9]).validation.length, halves([0.2, 0.2 + 1e-9]).test.length], [1, 1]);
});

test("a class with fewer rows than its share of a subset gives all it has", (t) => {
  const labels = [0, 0, 1, 1, 1, 1, 1, 1];
  const subset = balancedSubset(labels, 8);
  t.is(subset.filter((position) => labels[position] === 0).length, 2);
  t.is(subset.filter((position) => labels[position] === 1).length, 4);
});

test("a cut keeps the proportions of the classes and loses no row", (t) => {
  const labels = Array.from({ length: 200 }, (_, i) => (i % 10 === 0 ? 1 : 0));
  const parts = cut(groupByLabel(labels), { validation: 0.15, test: 0.15 }, 3);
  const ones = (positions: number[]) => positions.filter((position) => labels[position] === 1).length;
  t.deepEqual([parts.train.length, parts.validation.length, parts.test.length], [140, 30, 30]);
  t.deepEqual([ones(parts.train), ones(parts.validation), ones(parts.test)], [14, 3, 3]);
  t.deepEqual(
    [...parts.train, ...parts.validation, ...parts.test].sort((a, b) => a - b),
    [...labels.keys()],
  );
});

test("a cut depends on the seed and on nothing else", (t) => {
  const groups = [Array.from({ length: 50 }, (_, i) => i)];
  const shares = { validation: 0.2, test: 0.2 };
  t.deepEqual(cut(groups, shares, 1), cut(groups, shares, 1));
  t.notDeepEqual(cut(groups, shares, 1), cut(groups, shares, 2));
});

test("a class of one or two rows stays in the training rows; one of three gives a row to each part", (t) => {
  const parts = cut([[0], [1, 2], [3, 4, 5]], { validation: 0.15, test: 0.15 }, 0);
  t.deepEqual([parts.train.length, parts.validation.length, parts.test.length], [4, 1, 1]);
  for (const position of [0, 1, 2]) t.true(parts.train.includes(position));
});
