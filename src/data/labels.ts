import { DataError } from "../errors.js";
import type { Problem } from "./task.js";
import { plural } from "./plural.js";

/** From this many different whole numbers on, a label column is taken for a scale, not for classes. */
const mostNumberedClasses = 20;
const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * One spelling for a label, whatever the file format calls it: a boolean is "true" or "false", a number its shortest
 * form, and text loses the spaces around it. Null where there is none.
 */
export function labelText(value: unknown): string | null {
  if (typeof value === "string") return value.trim() === "" ? null : value.trim();
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number") return Number.isNaN(value) ? null : String(value);
  return null;
}

/** What the labels of own data are taken for, and why, for the user. */
export interface LabelScheme {
  problem: Problem;
  /** Class names in index order; empty for regression. */
  labels: string[];
  reason: string;
  /** The class index or score of a label, undefined for one that the scheme does not know. */
  read: (text: string) => number | undefined;
}

/**
 * Decides between classification and regression. Words are classes. Numbers are scores when one of them has a
 * fraction or when there are more than 20 different ones, else classes. Classes are sorted naturally: numbers by
 * value, words by letters with runs of digits by value ("class 2" before "class 10"), false before true.
 *
 * @param texts labels as `labelText` gives them, at least one
 */
export function guessScheme(texts: readonly string[]): LabelScheme {
  const distinct = [...new Set(texts)];
  if (distinct.every((text) => number.test(text))) {
    const values = [...new Set(distinct.map(Number))];
    const fraction = distinct.find((text) => !Number.isInteger(Number(text)));
    if (fraction !== undefined) return regressionScheme(`label ${fraction} has a fraction`);
    if (values.length > mostNumberedClasses) return regressionScheme(`there are ${values.length} different numbers`);
    return classScheme(
      values.sort((a, b) => a - b).map(String),
      `the labels are ${values.length} different whole numbers`,
    );
  }
  if (distinct.every((text) => /^(true|false)$/i.test(text))) {
    const classes = [...new Set(distinct.map((text) => text.toLowerCase()))].sort();
    return classScheme(classes, "the labels are booleans");
  }
  return classScheme(distinct.sort(compareNaturally), `the labels are ${distinct.length} different words`);
}

/** A scheme for labels that are fixed beforehand: those of a saved model, or of a training file. */
export function knownScheme(problem: Problem, labels: readonly string[]): LabelScheme {
  return problem === "regression" ? regressionScheme("") : classScheme([...labels], "");
}

function regressionScheme(reason: string): LabelScheme {
  const read = (text: string) => (number.test(text) && Number.isFinite(Number(text)) ? Number(text) : undefined);
  return { problem: "regression", labels: [], reason, read };
}

function classScheme(labels: string[], reason: string): LabelScheme {
  const byName = new Map(labels.map((label, index) => [label, index]));
  const byValue = new Map(labels.flatMap((label, index) => (number.test(label) ? [[Number(label), index]] : [])));
  const byCase = new Map<string, number | undefined>();
  for (const [index, label] of labels.entries()) {
    const folded = label.toLowerCase();
    byCase.set(folded, byCase.has(folded) ? undefined : index);
  }
  const read = (text: string) =>
    byName.get(text) ?? (number.test(text) ? byValue.get(Number(text)) : undefined) ?? byCase.get(text.toLowerCase());
  return { problem: "classification", labels, reason, read };
}

/**
 * Refuses classes that nothing can be learned from: a single one, or a different one in every row.
 *
 * @param counts rows of each class, in index order
 */
export function checkClasses(path: string, labels: readonly string[], counts: readonly number[]): void {
  const rows = counts.reduce((sum, count) => sum + count, 0);
  if (rows < labels.length) {
    throw new DataError(`${path} has ${plural(rows, "row")}, fewer than its ${labels.length} classes`);
  }
  const present = labels.filter((_, index) => (counts[index] as number) > 0);
  if (present.length === 1) {
    throw new DataError(`${path}: every row has the label '${present[0]}', so there is nothing to tell apart`);
  }
  if (rows === labels.length && rows > 2) {
    throw new DataError(`${path}: each of the ${rows} rows has a label of its own`, {
      hint: "Is it the right column? Name the one with the classes by --label.",
    });
  }
  const missing = labels.find((_, index) => counts[index] === 0);
  if (missing !== undefined) throw new DataError(`${path} has no row of class '${missing}'`);
}

/** Runs of digits by value, everything else by code units: the same order on every machine. */
function compareNaturally(a: string, b: string): number {
  const left = a.match(/\d+|\D+/g) ?? [];
  const right = b.match(/\d+|\D+/g) ?? [];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const x = left[i] as string;
    const y = right[i] as string;
    const numeric = /^\d/.test(x) && /^\d/.test(y);
    if (numeric && Number(x) !== Number(y)) return Number(x) - Number(y);
    if (!numeric && x !== y) return x < y ? -1 : 1;
  }
  return left.length - right.length || (a < b ? -1 : Number(a > b));
}
