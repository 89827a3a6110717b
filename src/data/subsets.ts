import { ConfigError } from "../errors.js";
import { LegacyRandomState } from "../random/numpy-legacy.js";
import { torchRandperm } from "../random/torch-randperm.js";
import { groupByLabel } from "./splits.js";
import { plural } from "./plural.js";

/** The paper's code seeds every subset with 0, whatever the run's seed. */
const subsetSeed = 0;

/**
 * Row positions of each class, in order of first appearance, shuffled one after the other by one NumPy generator: the
 * lists of which the paper's code takes the front for a training subset and the back for the extra validation rows.
 */
export function shuffledClasses(labels: readonly number[]): number[][] {
  const state = new LegacyRandomState(subsetSeed);
  const groups = groupByLabel(labels);
  for (const group of groups) state.shuffle(group);
  return groups;
}

/**
 * The paper's balanced subset: the first floor(rows / classes) of each class, class after class (999 rows of three
 * classes for 1000). A class that has fewer gives all it has.
 *
 * @param labels class indices, one per row
 */
export function balancedSubset(labels: readonly number[], rows: number): number[] {
  const classes = shuffledClasses(labels);
  const share = Math.floor(rows / classes.length);
  return classes.flatMap((group) => group.slice(0, share));
}

/**
 * The paper's split of a large training set: the last floor(rows / classes) of each class become validation, and what
 * is before them stays for training.
 *
 * @param labels class indices, one per row
 */
export function extraValidation(labels: readonly number[], rows: number): { train: number[]; validation: number[] } {
  const classes = shuffledClasses(labels);
  const share = Math.floor(rows / classes.length);
  return {
    train: classes.flatMap((group) => group.slice(0, Math.max(0, group.length - share))),
    validation: share === 0 ? [] : classes.flatMap((group) => group.slice(-share)),
  };
}

/** The paper's subset of a regression task (STS-B): the first `rows` of `torch.randperm`, in that order. */
export function regressionSubset(trainRows: number, rows: number): number[] {
  return [...torchRandperm(trainRows, subsetSeed).subarray(0, rows)];
}

/**
 * The order of dev rows that the released code cuts into halves in a run on a training subset: it downsamples the dev
 * set by the same function. Classes are only reordered (all rows are kept); a regression dev set is itself cut to
 * `rows` first, so STS-B 1k is scored on other and fewer rows than STS-B.
 */
export function releasedDevOrder(
  problem: "classification" | "regression",
  labels: readonly number[],
  rows: number,
): number[] {
  return problem === "classification" ? shuffledClasses(labels).flat() : regressionSubset(labels.length, rows);
}

/** Throws ConfigError when a subset of `trainRows` rows cannot be drawn. */
export function checkTrainRows(trainRows: number, path: string, rows: number, classes: number): void {
  if (trainRows > rows)
    throw new ConfigError(`trainRows is ${trainRows}, and ${path} has ${plural(rows, "row")} to train on`);
  if (trainRows < classes)
    throw new ConfigError(`trainRows is ${trainRows}, fewer than the ${classes} classes of ${path}`);
}

/** A note when a balanced subset came out smaller than its classes' shares. */
export function fewerRows(path: string, drawn: number, trainRows: number, classes: number): string[] {
  if (drawn === Math.floor(trainRows / classes) * classes) return [];
  return [`${path}: ${drawn} training rows in place of ${trainRows}, because a class has fewer rows than its share`];
}
