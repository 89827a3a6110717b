/** What a cell, and each trial of it, is called by: no two cells of a study have all three in common. */
export interface CellName {
  stage: string;
  task: string;
  recipe: string;
}

/** The same as one string, for maps. */
export function cellKey({ stage, task, recipe }: CellName): string {
  return JSON.stringify([stage, task, recipe]);
}

/**
 * Trials by the key of their cell.
 *
 * @param order the cells of the study's file, for its order, whatever was planned first; cells that are not in it stand
 *   behind them, in the order of their first trials
 */
export function byCell<T extends CellName>(trials: readonly T[], order: readonly CellName[] = []): Map<string, T[]> {
  const cells = new Map<string, T[]>(order.map((cell) => [cellKey(cell), []]));
  for (const trial of trials) {
    const own = cells.get(cellKey(trial));
    if (own === undefined) cells.set(cellKey(trial), [trial]);
    else own.push(trial);
  }
  return new Map([...cells].filter(([, own]) => own.length > 0));
}
