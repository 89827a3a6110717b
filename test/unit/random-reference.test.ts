import { readFileSync } from "node:fs";
import test from "ava";
import { Mt19937 } from "#src/random/mt19937.js";
import { LegacyRandomState } from "#src/random/numpy-legacy.js";
import { permutation } from "#src/random/permutation.js";
import { torchRandperm } from "#src/random/torch-randperm.js";

interface Drawn {
  seed: number;
  epoch: number;
  n: number;
  order: number[];
}

// Written by scripts/fixtures/make-random-reference.py with NumPy and torch.
const reference = JSON.parse(readFileSync("test/fixtures/random/reference.json", "utf8")) as {
  words: Record<string, number[]>;
  numpyShuffle: Drawn[];
  numpyTwoShuffles: { seed: number; orders: [number[], number[]] };
  torchRandperm: Drawn[];
  permutation: Drawn[];
};

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

for (const [seed, expected] of Object.entries(reference.words)) {
  test(`the Mersenne Twister draws NumPy's words for seed ${seed}, across several twists`, (t) => {
    const engine = new Mt19937(Number(seed));
    const drawn = range(1300).map(() => engine.next());
    t.deepEqual(
      drawn.filter((_, i) => i % 100 === 0),
      expected,
    );
  });
}

for (const { seed, n, order } of reference.numpyShuffle) {
  test(`LegacyRandomState(${seed}) shuffles ${n} rows as NumPy does`, (t) => {
    const rows = range(n);
    new LegacyRandomState(seed).shuffle(rows);
    t.deepEqual(rows, order);
  });
}

test("a second shuffle of one LegacyRandomState goes on where the first ended", (t) => {
  const { seed, orders } = reference.numpyTwoShuffles;
  const state = new LegacyRandomState(seed);
  const drawn = orders.map((order) => {
    const rows = range(order.length);
    state.shuffle(rows);
    return rows;
  });
  t.deepEqual(drawn, orders);
});

for (const { seed, n, order } of reference.torchRandperm) {
  test(`torchRandperm(${n}, ${seed}) equals torch.randperm`, (t) => {
    t.deepEqual([...torchRandperm(n, seed)], order);
  });
}

test("torchRandperm refuses sizes for which torch uses another generator", (t) => {
  t.throws(() => torchRandperm(214748364, 0), { instanceOf: RangeError, message: /214748364/ });
  t.throws(() => torchRandperm(-1, 0), { instanceOf: RangeError });
});

for (const { seed, epoch, n, order } of reference.permutation) {
  test(`the order stream permutes ${n} rows in epoch ${epoch} of seed ${seed} as its definition says`, (t) => {
    t.deepEqual([...permutation(n, { seed, epoch })], order);
  });
}

test("a permutation of no rows is empty", (t) => {
  t.is(permutation(0, { seed: 0, epoch: 0 }).length, 0);
});

test("each place of a permutation is equally likely for each row", (t) => {
  const counts = new Array<number>(16).fill(0);
  for (let epoch = 0; epoch < 4000; epoch++) {
    const order = permutation(4, { seed: 9, epoch });
    for (const [place, row] of order.entries()) counts[place * 4 + row]! += 1;
  }
  // 1000 expected in each of 16 cells; chi-squared with 9 degrees of freedom stays below 27.9 in 999 of 1000 cases.
  const chiSquared = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  t.true(chiSquared < 27.9, `chi-squared is ${chiSquared}`);
});
