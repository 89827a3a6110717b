import type { SlurmOptions } from "../../study/slurm/options.js";
import { count } from "../format.js";
import { openTerminal } from "../terminal.js";
import { printJson, type CommonOptions } from "../verb.js";
import { budgetOf } from "./options.js";
import { tellOverBudget } from "./tell-end.js";

/** Gives a study's trials to Slurm, and says what comes next. */
export async function submit(
  folder: string,
  slurm: SlurmOptions,
  options: CommonOptions & { budget?: string },
): Promise<void> {
  const budget = budgetOf(options);
  const [{ submitTrials }, { extendPlan }] = await Promise.all([
    import("../../study/slurm/submit.js"),
    import("../../study/extend.js"),
  ]);
  const { manifest } = await extendPlan(folder);
  const submitted = await submitTrials(manifest, { ...slurm, folder, budget });
  if (options.json) {
    printJson({ folder, ...submitted });
    return;
  }
  const terminal = await openTerminal(options);
  const { jobs, queued, failed, overBudget } = submitted;
  if (queued > 0) terminal.line(`${count(queued, "trial")} in the queue already`);
  if (failed > 0) {
    terminal.warn(`${count(failed, "trial")} failed before; to try again: steadytune study retry ${folder}`);
  }
  tellOverBudget(overBudget, terminal);
  if (jobs.length === 0 && overBudget === 0) terminal.line("nothing to submit");
  for (const { job, trials, tasks, script, after } of jobs) {
    const behind = after.length === 0 ? "" : `, behind ${after.join(" and ")}, which trains the intermediate task`;
    terminal.line(`job ${job}: ${count(trials, "trial")} in ${count(tasks, "array task")}${behind}, by ${script}`);
  }
  if (jobs.length > 0 || queued > 0) {
    terminal.line(`next: steadytune study status ${folder}; to take it back: steadytune study cancel ${folder}`);
  }
}
