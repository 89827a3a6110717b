import type { Manifest } from "../../study/manifest.js";
import type { Terminal } from "../terminal.js";

/** A line for each cell whose config was chosen among others: which one, by what score, of how many. */
export function tellChoices({ study: { cells = [] } }: Manifest, terminal: Terminal): void {
  for (const { task, recipe, select } of cells) {
    const choice = select?.choice ?? null;
    if (choice === null || choice.among.length < 2) continue;
    const best = choice.among.find((candidate) => candidate.recipe === choice.recipe)?.mean ?? null;
    const score = best === null ? "" : `, ${(100 * best).toFixed(1)} on validation`;
    terminal.line(`"${recipe}" on ${task}: ${choice.recipe}${score}, the best of ${choice.among.length}`);
  }
}
