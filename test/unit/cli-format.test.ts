import test from "ava";
import { bar, bytes, count, duration, rate, scoreWithInterval } from "#src/cli/format.js";
import { table } from "#src/cli/table.js";

test("a bar is as wide as asked, from empty to full", (t) => {
  t.is(bar(0, 4), "░░░░");
  t.is(bar(0.5, 4), "██░░");
  t.is(bar(0.53125, 4), "██▏░");
  t.is(bar(1, 4), "████");
  t.is(bar(7, 4), "████");
  for (let i = 0; i <= 1000; i++) t.is(bar(i / 1000, 20).length, 20);
});

test("durations have two units at most, and never 60 of one", (t) => {
  const shown: [number, string][] = [
    [0, "0 ms"],
    [999.4, "999 ms"],
    [999.6, "1.0 s"],
    [59_940, "59.9 s"],
    [59_960, "1m 00s"],
    [245_000, "4m 05s"],
    [3_599_600, "1h 00m"],
    [12_000_000, "3h 20m"],
    [187_200_000, "2d 04h"],
  ];
  for (const [ms, text] of shown) t.is(duration(ms), text);
});

test("rates and sizes keep three digits", (t) => {
  t.deepEqual([0.04, 12.34, 99.96, 847, 999.6, 2100, 3.4e6].map(rate), [
    "0.0",
    "12.3",
    "100",
    "847",
    "1.0k",
    "2.1k",
    "3.4M",
  ]);
  t.deepEqual([0, 999, 1000, 3.44e6, 1.2e9].map(bytes), ["0 B", "999 B", "1.0 kB", "3.4 MB", "1.2 GB"]);
  t.deepEqual([count(1, "row"), count(2490, "row")], ["1 row", "2,490 rows"]);
});

test("a score stands with its interval where there is one", (t) => {
  t.is(scoreWithInterval(0.65217, [0.5725, 0.73188]), "0.6522 [0.5725, 0.7319]");
  t.is(scoreWithInterval(0.5, null), "0.5000");
  t.is(scoreWithInterval(undefined, null), "-");
});

test("a table has no rules: words to the left, numbers to the right", (t) => {
  t.is(
    table(
      ["split", "rows"],
      [
        ["train", "2490"],
        ["test", "9"],
      ],
    ),
    "split   rows\ntrain   2490\ntest       9",
  );
});
