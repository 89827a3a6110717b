import { LockedError, SlurmError } from "../../errors.js";
import type { StudyEnd } from "../../study/run.js";
import { currentTask, requeue } from "../../study/slurm/requeue.js";
import { count } from "../format.js";
import { interruptible, InterruptedError } from "../interrupt.js";
import { openTerminal } from "../terminal.js";
import type { CommonOptions } from "../verb.js";
import { watchStudy } from "../watch-study.js";
import { budgetOf } from "./options.js";
import { tellEnd, tellOverBudget } from "./tell-end.js";

/**
 * Runs the trials of an array task, one after the other, with the cores and the device of one. Stopped by Slurm, the
 * task goes back into the queue; where it was the last of its stage, it submits the next one.
 */
export async function runTask(
  folder: string,
  ids: readonly string[],
  options: CommonOptions & { budget?: string },
): Promise<void> {
  const [{ runPlanned }, { requireManifest }, { submitFollowing }] = await Promise.all([
    import("../../study/run.js"),
    import("../../study/manifest.js"),
    import("../../study/slurm/submit.js"),
  ]);
  const budget = budgetOf(options);
  const task = currentTask();
  const terminal = await openTerminal(options);
  const planned = (await requireManifest(folder)).trials.length;
  let end: StudyEnd;
  try {
    end = await interruptible(
      terminal,
      (signal) => runPlanned(folder, { only: ids, workers: 1, budget, signal, onEvent: watchStudy(terminal) }),
      { hint: "study run goes on where it stopped", patient: task !== null },
    );
  } catch (error) {
    if (task !== null && error instanceof InterruptedError) {
      const say = (line: string) => terminal.line(line);
      await requeue(task, folder, say).catch((failure: Error) => say(`not requeued: ${failure.message}`));
    }
    throw error;
  }
  // Cells that wait for a choice wait for other tasks.
  tellEnd({ ...end, waiting: [] }, folder, terminal);
  const added = end.manifest.trials.slice(planned);
  if (task === null || added.length === 0) return;
  try {
    const { jobs, overBudget } = await submitFollowing(end.manifest, added, folder);
    for (const { job, trials } of jobs)
      terminal.line(`the next stage is planned, ${count(trials, "trial")}: job ${job}`);
    tellOverBudget(overBudget, terminal);
  } catch (error) {
    if (!(error instanceof SlurmError || error instanceof LockedError)) throw error;
    terminal.warn(`the next stage is planned but not submitted, which study run does: ${error.message}`);
  }
}
