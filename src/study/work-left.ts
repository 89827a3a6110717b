/** How far the trials of one cell are, or the run of an intermediate task. */
export interface CellProgress {
  /** Seconds that each finished trial took. */
  finished: readonly number[];
  running: readonly { step: number; steps: number; seconds: number }[];
  /** Trials that nobody has begun. */
  waiting: number;
}

export interface WorkLeft {
  /** For one worker. */
  seconds: number;
  /** Of the trial at work that has most before it. */
  longest: number;
  /** True where some of the work cannot be guessed yet and is left out. */
  atLeast: boolean;
}

/**
 * The work that is left, by what finished trials took and by how far those at work are. A cell of which nothing is known
 * counts as the mean of the others.
 *
 * @param stages intermediate tasks, whose length says nothing about other work
 * @returns null while nothing is known
 */
export function workLeft(cells: readonly CellProgress[], stages: readonly CellProgress[] = []): WorkLeft | null {
  const known = cells.map(trialSeconds).filter((seconds) => seconds !== null);
  const typical = known.length === 0 ? null : mean(known);
  const left: WorkLeft = { seconds: 0, longest: 0, atLeast: false };
  let anything = false;
  const add = (cell: CellProgress, otherwise: number | null): void => {
    const whole = trialSeconds(cell) ?? otherwise;
    for (const { step, steps, seconds } of cell.running) {
      const own = step > 0 ? (seconds / step) * (steps - step) : whole;
      if (own === null) left.atLeast = true;
      else {
        anything = true;
        left.seconds += own;
        left.longest = Math.max(left.longest, own);
      }
    }
    if (cell.waiting === 0) return;
    if (whole === null) left.atLeast = true;
    else {
      anything = true;
      left.seconds += cell.waiting * whole;
      left.longest = Math.max(left.longest, whole);
    }
  };
  for (const cell of cells) add(cell, typical);
  for (const stage of stages) add(stage, null);
  const nothingLeft = [...cells, ...stages].every(({ running, waiting }) => running.length === 0 && waiting === 0);
  return anything || nothingLeft ? left : null;
}

/** Seconds until `workers` have done it; no sooner than the longest trial takes alone. */
export function secondsLeft({ seconds, longest }: WorkLeft, workers: number): number {
  return Math.max(seconds / Math.max(workers, 1), longest);
}

/** What one trial of the cell takes; null where none has come far enough to tell. */
function trialSeconds({ finished, running }: CellProgress): number | null {
  if (finished.length > 0) return mean(finished);
  const begun = running.filter(({ step }) => step > 0);
  return begun.length === 0 ? null : mean(begun.map(({ step, steps, seconds }) => (seconds / step) * steps));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
