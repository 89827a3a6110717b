import test from "ava";
import { checkClasses, guessScheme, knownScheme, labelText } from "#src/data/labels.js";

test("a label has one spelling, whatever the format calls it", (t) => {
  t.deepEqual([" yes ", true, 3, 3n, 0.5, "", "  ", null, undefined, Number.NaN, {}].map(labelText), [
    "yes",
    "true",
    "3",
    "3",
    "0.5",
    null,
    null,
    null,
    null,
    null,
    null,
  ]);
});

test("words are classes in natural order, the same on every machine", (t) => {
  const { problem, labels } = guessScheme(["class 10", "class 2", "b", "B", "ä", "class 2"]);
  t.is(problem, "classification");
  t.deepEqual(labels, ["B", "b", "class 2", "class 10", "ä"]);
});

test("the order of classes does not depend on the order of rows", (t) => {
  t.deepEqual(guessScheme(["c", "a", "b"]).labels, guessScheme(["b", "c", "a"]).labels);
});

test("whole numbers are classes sorted by value, in any spelling", (t) => {
  const scheme = guessScheme(["10", "2", "1.0", "-1", "1"]);
  t.deepEqual(scheme.labels, ["-1", "1", "2", "10"]);
  t.deepEqual(["1", "1.0", "+1", "01"].map(scheme.read), [1, 1, 1, 1]);
  t.is(scheme.read("3"), undefined);
});

test("booleans are two classes, false first, in any spelling", (t) => {
  const scheme = guessScheme(["True", "false", "TRUE"]);
  t.deepEqual(scheme.labels, ["false", "true"]);
  t.deepEqual(["FALSE", "true", "True"].map(scheme.read), [0, 1, 1]);
});

test("numbers are scores when one has a fraction or when there are more than twenty", (t) => {
  const fractions = guessScheme(["1", "2.5", "3"]);
  t.is(fractions.problem, "regression");
  t.regex(fractions.reason, /2\.5 has a fraction/);
  t.is(fractions.read("1e-3"), 0.001);
  t.deepEqual(["x", "NaN", "Infinity", "0x10"].map(fractions.read), [undefined, undefined, undefined, undefined]);
  const numbers = Array.from({ length: 21 }, (_, i) => String(i));
  t.is(guessScheme(numbers).problem, "regression");
  t.is(guessScheme(numbers.slice(1)).problem, "classification");
});

test("one word among numbers makes classes of all", (t) => {
  t.is(guessScheme(["1", "2.5", "n/a"]).problem, "classification");
});

test("labels that differ only by case stay different classes; others may be spelled in any case", (t) => {
  const { read } = guessScheme(["Yes", "no", "NO"]);
  t.is(read("YES"), read("Yes"));
  t.not(read("no"), read("NO"));
  t.is(read("No"), undefined);
});

test("fixed labels keep their order", (t) => {
  const { read } = knownScheme("classification", ["z", "a"]);
  t.deepEqual([read("z"), read("a"), read("b")], [0, 1, undefined]);
});

test("classes that nothing can be learned from are refused, each for its reason", (t) => {
  const message = (labels: string[], counts: number[]) =>
    t.throws(() => checkClasses("x.csv", labels, counts), { code: "ERR_DATA" })?.message;
  t.is(message(["a"], [5]), "x.csv: every row has the label 'a', so there is nothing to tell apart");
  t.is(message(["a", "b"], [0, 5]), "x.csv: every row has the label 'b', so there is nothing to tell apart");
  t.is(message(["a", "b", "c"], [1, 1, 1]), "x.csv: each of the 3 rows has a label of its own");
  t.is(message(["a", "b", "c"], [4, 0, 1]), "x.csv has no row of class 'b'");
  t.is(message(["a", "b", "c"], [1, 1, 0]), "x.csv has 2 rows, fewer than its 3 classes");
  t.notThrows(() => checkClasses("x.csv", ["a", "b"], [1, 2]));
});
