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

/** Trials by the key of their cell, cells in the order of their first trials. */
export function byCell<T extends CellName>(trials: readonly T[]): Map<string, T[]> {
  const cells = new Map<string, T[]>();
  for (const trial of trials) {
    const own = cells.get(cellKey(trial));
    if (own === undefined) cells.set(cellKey(trial), [trial]);
    else own.push(trial);
  }
  return cells;
}
