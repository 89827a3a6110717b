import type { TrialInSlurm } from "../../study/slurm/queue.js";
import type { StudyStatus } from "../../study/status.js";
import { count } from "../format.js";

/** What Slurm says of the trials that are neither finished nor at work, by lines for people. */
export function slurmLines(
  { folder, trials }: Pick<StudyStatus, "folder" | "trials">,
  slurm: ReadonlyMap<string, TrialInSlurm>,
): string[] {
  const waiting = [...new Map(trials.map((trial) => [trial.id, trial])).values()].flatMap((trial) => {
    const found = slurm.get(trial.id);
    return trial.state === "waiting" && found !== undefined ? [{ trial, ...found }] : [];
  });
  const lines: string[] = [];
  const pending = waiting.filter(({ queued, state }) => queued && state === "PENDING");
  if (pending.length > 0) {
    const reasons = new Map<string, number>();
    for (const { reason } of pending) reasons.set(reason ?? "no reason", (reasons.get(reason ?? "no reason") ?? 0) + 1);
    const why = [...reasons].map(([reason, n]) => `${n} for ${reason}`).join(", ");
    lines.push(`Slurm: ${count(pending.length, "trial")} in the queue (${why})`);
  }
  const following = waiting.length - pending.length - waiting.filter(({ queued }) => !queued).length;
  if (following > 0) lines.push(`Slurm: ${count(following, "trial")} in tasks that run`);
  const lost = waiting.filter(({ queued }) => !queued);
  for (const { trial, job, state, log } of lost) {
    const { recipe, task, seed } = trial;
    lines.push(`not finished and not in the queue: ${recipe} on ${task}, ${seed}: job ${job} ${state}, ${log}`);
  }
  if (lost.length > 0) lines.push(`to submit again: steadytune study run ${folder} --executor slurm`);
  return lines;
}
