import test from "ava";
import { describeTask } from "#src/data/describe.js";
import type { Example, TaskData } from "#src/data/task.js";

function examples(labels: number[]): Example[] {
  return labels.map((label, row) => ({ row, text: `t${row}`, pair: null, label }));
}

function taskWith(problem: "classification" | "regression", labels: string[], rows: number[][]): TaskData {
  const [train = [], validation = [], test = []] = rows.map(examples);
  return {
    task: { name: "x", problem, labels, pairs: false, metric: problem === "regression" ? "spearman" : "f1" },
    train,
    validation,
    test,
    sources: { train: "a", validation: "b", test: "c" },
    files: [],
    notes: ["a note"],
  };
}

test("class counts and majority baselines are given for each split", (t) => {
  const { splits, notes } = describeTask(
    taskWith(
      "classification",
      ["no", "yes"],
      [
        [1, 1, 1, 0],
        [0, 0, 0, 1],
        [1, 1],
      ],
    ),
  );
  t.deepEqual(splits, [
    {
      name: "train",
      source: "a",
      rows: 4,
      labels: [
        { label: "no", rows: 1 },
        { label: "yes", rows: 3 },
      ],
      majority: { label: "yes", accuracy: 0.75, f1: 6 / 7 },
      scores: null,
    },
    {
      name: "validation",
      source: "b",
      rows: 4,
      labels: [
        { label: "no", rows: 3 },
        { label: "yes", rows: 1 },
      ],
      majority: { label: "no", accuracy: 0.75, f1: 0 },
      scores: null,
    },
    {
      name: "test",
      source: "c",
      rows: 2,
      labels: [
        { label: "no", rows: 0 },
        { label: "yes", rows: 2 },
      ],
      majority: { label: "yes", accuracy: 1, f1: 1 },
      scores: null,
    },
  ]);
  t.deepEqual(notes, ["a note"]);
});

test("samples show rows of each class, with its name", (t) => {
  const { samples } = describeTask(taskWith("classification", ["no", "yes"], [[1, 1, 1, 0], [0], [1]]));
  t.deepEqual(
    samples.map(({ row, label }) => [row, label]),
    [
      [3, "no"],
      [0, "yes"],
      [1, "yes"],
    ],
  );
});

test("a regression task shows the range of its scores", (t) => {
  const { splits, samples } = describeTask(taskWith("regression", [], [[1, 2.5, 4], [3], [3]]));
  t.deepEqual(splits[0]?.scores, { min: 1, mean: 2.5, max: 4 });
  t.is(splits[0]?.majority, null);
  t.deepEqual(
    samples.map(({ label }) => label),
    [1, 2.5, 4],
  );
});
