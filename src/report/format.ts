/** What axes and tables call a metric. All are shown times 100, as papers do. */
const metricNames: Record<string, string> = {
  accuracy: "accuracy (%)",
  f1: "F1 (%)",
  matthews: "Matthews correlation (× 100)",
  spearman: "Spearman correlation (× 100)",
  pearson: "Pearson correlation (× 100)",
};

export function metricName(metric: string): string {
  return metricNames[metric] ?? metric;
}

/** A score times 100, with one decimal: "72.3". */
export function points(value: number | null): string {
  return value === null ? "–" : (100 * value).toFixed(1);
}

/** "72.3 ± 1.9". */
export function meanStd({ mean, std }: { mean: number | null; std: number | null }): string {
  return std === null ? points(mean) : `${points(mean)} ± ${points(std)}`;
}

/** "+1.9", "-0.4". */
export function signedPoints(value: number | null): string {
  return value === null || value < 0 ? points(value).replace("-", "−") : `+${points(value)}`;
}

/** "71.4 to 73.0". */
export function range(low: number | null, high: number | null): string {
  return low === null || high === null ? "–" : `${points(low)} to ${points(high)}`;
}

/** "0.003", "< 0.001". */
export function pValue(p: number | null): string {
  if (p === null) return "–";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

/** "12 s", "3 min 05 s", "2 h 07 min". */
export function seconds(value: number): string {
  const whole = Math.round(value);
  const two = (n: number): string => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** "1 run", "5 runs". */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

export function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
