import { LegacyRandomState } from "../random/numpy-legacy.js";

/** Row positions of both halves, in the order in which the paper's code leaves them. */
export interface Halves {
  validation: number[];
  test: number[];
}

/**
 * Cuts a dev set into halves as the paper's released code does: rows are grouped by label in order of first
 * appearance, each group is shuffled by a fresh NumPy `RandomState(1)`, its first floor(n / 2) rows are validation and
 * the rest test. Scores group by their float32 value, so STS-B ends with more test than validation rows.
 *
 * @param labels class indices or scores, one per row
 */
export function halves(labels: readonly number[], seed = 1): Halves {
  const validation: number[] = [];
  const test: number[] = [];
  for (const group of groupByLabel(labels.map(Math.fround))) {
    new LegacyRandomState(seed).shuffle(group);
    const middle = Math.floor(group.length / 2);
    validation.push(...group.slice(0, middle));
    test.push(...group.slice(middle));
  }
  return { validation, test };
}

/** Row positions of each label, in order of first appearance. */
export function groupByLabel(labels: readonly number[]): number[][] {
  const groups = new Map<number, number[]>();
  for (const [position, label] of labels.entries()) {
    const group = groups.get(label);
    if (group === undefined) groups.set(label, [position]);
    else group.push(position);
  }
  return [...groups.values()];
}

/** Parts of `cut`, as shares of all rows, 0 <= share. */
export interface Shares {
  validation: number;
  test: number;
}

/** Row positions of three parts, each in file order. */
export interface Cut extends Halves {
  train: number[];
}

/**
 * Cuts rows into train, validation and test. Every group is shuffled by a fresh generator and cut by the same shares,
 * so classes keep their proportions. A group of one or two rows stays in train; a larger one gives at least one row to
 * each part with a share.
 *
 * @param groups row positions; one group per class, or a single one for regression
 */
export function cut(groups: readonly (readonly number[])[], shares: Shares, seed: number): Cut {
  const parts: Cut = { train: [], validation: [], test: [] };
  for (const group of groups) {
    const shuffled = [...group];
    new LegacyRandomState(seed).shuffle(shuffled);
    const size = (share: number) =>
      share === 0 || group.length < 3 ? 0 : Math.max(1, Math.round(share * group.length));
    const validation = size(shares.validation);
    const test = size(shares.test);
    parts.validation.push(...shuffled.slice(0, validation));
    parts.test.push(...shuffled.slice(validation, validation + test));
    parts.train.push(...shuffled.slice(validation + test));
  }
  for (const part of Object.values(parts) as number[][]) part.sort((a, b) => a - b);
  return parts;
}
