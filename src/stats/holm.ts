/**
 * Holm's step-down correction (1979): p values of several tests, raised so that below 0.05 no true hypothesis is
 * rejected in more than 5 % of all families of tests, whatever they depend on. NaN stays NaN and is no test.
 */
export function holm(p: readonly number[]): number[] {
  const tests = p.flatMap((value, index) => (Number.isNaN(value) ? [] : [{ value, index }]));
  tests.sort((a, b) => a.value - b.value);
  const adjusted = p.map(() => NaN);
  let highest = 0;
  for (const [rank, { value, index }] of tests.entries()) {
    highest = Math.max(highest, Math.min(1, (tests.length - rank) * value));
    adjusted[index] = highest;
  }
  return adjusted;
}
