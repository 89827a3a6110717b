/** Full blocks and eighths of one, `width` columns for 0 <= fraction <= 1. */
export function bar(fraction: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, fraction)) * width * 8);
  const full = Math.floor(eighths / 8);
  const part = eighths % 8 === 0 ? "" : " ▏▎▍▌▋▊▉"[eighths % 8]!;
  return "█".repeat(full) + part + "░".repeat(width - full - part.length);
}

/** "850 ms", "12.3 s", "4m 05s", "3h 20m", "2d 04h". */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const two = (n: number) => String(n).padStart(2, "0");
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h ${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

/** "12.3", "847", "2.1k", "3.4M": three digits at most, for rates. */
export function rate(perSecond: number): string {
  for (const [size, unit] of [
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (perSecond >= size * 0.9995) return `${digits(perSecond / size)}${unit}`;
  }
  return digits(perSecond);
}

function digits(value: number): string {
  return value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

/** "1 row", "2,490 rows". */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString("en-US")} ${noun}${n === 1 ? "" : "s"}`;
}

/** "512 B", "3.4 MB", "1.2 GB", in powers of 1000. */
export function bytes(n: number): string {
  const unit = Math.min(4, Math.floor(Math.log10(Math.max(n, 1)) / 3));
  return unit === 0 ? `${n} B` : `${(n / 1000 ** unit).toFixed(1)} ${["B", "kB", "MB", "GB", "TB"][unit]!}`;
}

/** Four decimals, as tables of scores have them. */
export function score(value: number | undefined): string {
  return value === undefined ? "-" : value.toFixed(4);
}

/** "0.6522 [0.5725, 0.7319]" with its 95 % interval. */
export function scoreWithInterval(value: number | undefined, interval: readonly [number, number] | null): string {
  return interval === null ? score(value) : `${score(value)} [${score(interval[0])}, ${score(interval[1])}]`;
}

/** Where a run that diverged did so. */
export function howDiverged({ divergedAt, steps }: { divergedAt: number | null; steps: number }): string {
  return divergedAt === 0 ? "the intermediate task diverged" : `diverged at step ${divergedAt} of ${steps}`;
}
