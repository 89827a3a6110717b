/** Lengths in steps among which the paper chooses (Sec. 6 and App. H). */
const paperSteps = [200, 400, 800, 1600, 3200] as const;

/**
 * The paper's grid for training longer: of {200, 400, 800, 1600, 3200} steps those that are no fewer than the three
 * epochs of standard fine-tuning (App. H; on the 1k tasks, with their 96 steps, that is all of them).
 *
 * @param threeEpochs steps of three epochs, such as 345 for MRPC
 */
export function longerGrid(threeEpochs: number): number[] {
  return paperSteps.filter((steps) => steps >= threeEpochs);
}
