/** Mean of the values; NaN without any. That of equal values is their value to the bit, so that they have no variance. */
export function mean(values: readonly number[]): number {
  const [first = NaN] = values;
  // A rounded sum, divided, can miss it by the last bit, and tests between such constants then have a p.
  if (values.every((value) => value === first)) return first;
  return values.reduce((total, value) => total + value, 0) / values.length;
}

/** Standard deviation of a sample (ddof 1); NaN with fewer than two values. */
export function std(values: readonly number[]): number {
  return Math.sqrt(variance(values));
}

/** Variance of a sample (ddof 1); NaN with fewer than two values. */
export function variance(values: readonly number[]): number {
  if (values.length < 2) return NaN;
  const center = mean(values);
  return values.reduce((total, value) => total + (value - center) ** 2, 0) / (values.length - 1);
}

export function min(values: readonly number[]): number {
  return values.length === 0 ? NaN : values.reduce((a, b) => Math.min(a, b));
}

export function max(values: readonly number[]): number {
  return values.length === 0 ? NaN : values.reduce((a, b) => Math.max(a, b));
}

/** The middle value, or the mean of the two middle ones; NaN without any. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/**
 * Mean of the middle half: the floor(n / 4) lowest and as many highest values are left out. Less moved by a run that
 * failed than the mean, and less chancy than the median (Agarwal et al. 2021, arXiv 2108.13264). NaN without any value.
 */
export function interQuartileMean(values: readonly number[]): number {
  const cut = Math.floor(values.length / 4);
  const sorted = Float64Array.from(values).sort();
  return mean(Array.from(sorted.subarray(cut, values.length - cut)));
}

/**
 * The value below which the fraction `q` of the values lies, between two values by linear interpolation (NumPy's
 * default, and what box plots draw); NaN without any.
 *
 * @param q in [0, 1]
 */
export function quantile(values: readonly number[] | Float64Array, q: number): number {
  if (!(q >= 0 && q <= 1)) throw new RangeError(`a quantile is a fraction from 0 to 1, not ${q}`);
  const sorted = Float64Array.from(values).sort();
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  const low = sorted[below];
  if (low === undefined) return NaN;
  const high = sorted[below + 1];
  return high === undefined || position === below ? low : low + (high - low) * (position - below);
}
