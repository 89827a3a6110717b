/** Reference tensors with a norm below this are zero but for rounding: only an absolute difference says anything. */
export const zeroNorm = 1e-7;

/** Square root of the sum of squares, in double precision. */
export function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
}

/** Norm of the difference; infinite where the two do not have the same length. */
export function distance(computed: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (computed.length !== reference.length) return Infinity;
  let sum = 0;
  for (let i = 0; i < reference.length; i++) sum += (computed[i]! - reference[i]!) ** 2;
  return Math.sqrt(sum);
}

/** Norm of the difference over the reference's norm. */
export function relativeError(computed: ArrayLike<number>, reference: ArrayLike<number>): number {
  const difference = distance(computed, reference);
  return difference === 0 ? 0 : difference / norm(reference);
}
