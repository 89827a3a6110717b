/**
 * Pearson correlation of two equally long lists; 0 when one of them is constant, as for a predictor that knows nothing
 * (the formula has no value there).
 */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = a.length;
  let meanA = 0;
  let meanB = 0;
  for (let i = 0; i < n; i++) {
    meanA += a[i]! / n;
    meanB += b[i]! / n;
  }
  let spreadA = 0;
  let spreadB = 0;
  let product = 0;
  for (let i = 0; i < n; i++) {
    const fromA = a[i]! - meanA;
    const fromB = b[i]! - meanB;
    spreadA += fromA * fromA;
    spreadB += fromB * fromB;
    product += fromA * fromB;
  }
  const scale = Math.sqrt(spreadA) * Math.sqrt(spreadB);
  return scale > 0 ? Math.max(-1, Math.min(1, product / scale)) : 0;
}

/** Values replaced by the place of their value among the distinct ones, from 0: all that a rank correlation needs. */
export interface Places {
  places: Int32Array;
  distinct: number;
}

export function placesOf(values: ArrayLike<number>): Places {
  const sorted = [...new Set(Float64Array.from(values))].sort((a, b) => a - b);
  const placeOf = new Map(sorted.map((value, place) => [value, place]));
  return { places: Int32Array.from(values, (value) => placeOf.get(value)!), distinct: sorted.length };
}

/**
 * Ranks from 1, equal values sharing the mean of theirs.
 *
 * @param rows the rows to rank, a row as often as it is named
 */
function averageRanks({ places, distinct }: Places, rows: Int32Array): Float64Array {
  const counts = new Int32Array(distinct);
  for (const row of rows) counts[places[row]!]! += 1;
  const rankOf = new Float64Array(distinct);
  let below = 0;
  for (let place = 0; place < distinct; place++) {
    rankOf[place] = below + (counts[place]! + 1) / 2;
    below += counts[place]!;
  }
  return Float64Array.from(rows, (row) => rankOf[places[row]!]!);
}

/** Spearman correlation over the given rows: Pearson's of the average ranks; 0 when one side is constant. */
export function spearman(a: Places, b: Places, rows: Int32Array): number {
  return pearson(averageRanks(a, rows), averageRanks(b, rows));
}
