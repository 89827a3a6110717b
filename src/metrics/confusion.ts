/** counts[label * classes + predicted] over the given rows. */
export interface Confusion {
  classes: number;
  /** [classes * classes] */
  counts: Float64Array;
}

/**
 * @param predicted class index of every row
 * @param labels class index of every row
 * @param rows the rows to count, a row as often as it is named; all rows when left out
 */
export function countConfusion(
  predicted: Int32Array,
  labels: Int32Array,
  classes: number,
  rows?: Int32Array,
): Confusion {
  const counts = new Float64Array(classes * classes);
  const total = rows ? rows.length : labels.length;
  for (let i = 0; i < total; i++) {
    const row = rows ? rows[i]! : i;
    counts[labels[row]! * classes + predicted[row]!]! += 1;
  }
  return { classes, counts };
}

/** Rows by label, rows by predicted class, and rows of each class that were predicted right. */
function marginals({ classes, counts }: Confusion): {
  total: number;
  labelled: Float64Array;
  predicted: Float64Array;
  right: Float64Array;
} {
  const labelled = new Float64Array(classes);
  const predicted = new Float64Array(classes);
  const right = new Float64Array(classes);
  let total = 0;
  for (let label = 0; label < classes; label++) {
    for (let prediction = 0; prediction < classes; prediction++) {
      const count = counts[label * classes + prediction]!;
      labelled[label]! += count;
      predicted[prediction]! += count;
      if (label === prediction) right[label] = count;
      total += count;
    }
  }
  return { total, labelled, predicted, right };
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);
const sumOfSquares = (values: Float64Array): number => values.reduce((a, b) => a + b * b, 0);

/** In [0, 1]. */
export function accuracy(confusion: Confusion): number {
  const { total, right } = marginals(confusion);
  return sum(right) / total;
}

/**
 * Two classes: F1 of class 1, as GLUE scores MRPC and QQP. More: the mean over the classes that occur (macro F1).
 * 0 where a class is neither predicted right once nor wrongly avoided, as scikit-learn has it. In [0, 1].
 */
export function f1(confusion: Confusion): number {
  const { labelled, predicted, right } = marginals(confusion);
  const ofClass = (index: number): number => {
    const occurrences = labelled[index]! + predicted[index]!;
    return occurrences === 0 ? 0 : (2 * right[index]!) / occurrences;
  };
  if (confusion.classes === 2) return ofClass(1);
  const occurring = [...labelled.keys()].filter((index) => labelled[index]! + predicted[index]! > 0);
  return occurring.reduce((total, index) => total + ofClass(index), 0) / occurring.length;
}

/** Matthews correlation for any number of classes (Gorodkin 2004); 0 when one class is predicted or labelled alone. */
export function matthews(confusion: Confusion): number {
  const { total, labelled, predicted, right } = marginals(confusion);
  const crossed = labelled.reduce((a, count, index) => a + count * predicted[index]!, 0);
  const labelSpread = total * total - sumOfSquares(labelled);
  const predictedSpread = total * total - sumOfSquares(predicted);
  if (labelSpread === 0 || predictedSpread === 0) return 0;
  return (total * sum(right) - crossed) / (Math.sqrt(labelSpread) * Math.sqrt(predictedSpread));
}
