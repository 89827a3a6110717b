import type { RunConfig } from "../config/schema.js";
import { ConfigError, DivergedError } from "../errors.js";
import type { BestOfTrials } from "../study/best-of-trials.js";
import { score, scoreWithInterval } from "./format.js";
import { interruptible } from "./interrupt.js";
import { tellEnd } from "./study/tell-end.js";
import { table } from "./table.js";
import { openTerminal } from "./terminal.js";
import { print, printJson, type CommonOptions } from "./verb.js";
import { watchStudy } from "./watch-study.js";

/** More is a study, with a report. */
const mostTrials = 100;

/** `finetune --trials N`: a study of one cell, of which the best trial's checkpoint stays. */
export async function finetuneTrials(config: RunConfig, wanted: string, options: CommonOptions): Promise<void> {
  const count = Number(wanted);
  if (!Number.isInteger(count) || count < 1 || count > mostTrials) {
    throw new ConfigError(`--trials must be a whole number from 1 to ${mostTrials}, but is ${wanted}`);
  }
  const [{ resolveConfig }, { keepBestTrial, studyOfTrials }, { runStudy }] = await Promise.all([
    import("../config/resolve.js"),
    import("../study/best-of-trials.js"),
    import("../study/run.js"),
  ]);
  const study = studyOfTrials(config, count);
  const output = config.output ?? resolveConfig(config).output.replace(/-seed\d+$/, "-trials");
  const terminal = await openTerminal(options);
  const end = await interruptible(
    terminal,
    (signal) => runStudy(study, { output, signal, onEvent: watchStudy(terminal) }),
    { hint: "the same command goes on where it stopped" },
  ).finally(() => terminal.clear());
  const outcome = await keepBestTrial(output, end.manifest.trials);
  if (options.json) {
    const trials = outcome.trials.map(({ trial: { id, seed }, result }) => ({ id, seed, result }));
    printJson({ folder: output, best: outcome.best?.trial.id ?? null, checkpoint: outcome.checkpoint, trials });
  } else print(tableOf(outcome));
  tellEnd(end, output, terminal);
  if (outcome.best === null && outcome.trials.length > 0) {
    throw new DivergedError("every trial diverged", outcome.trials[0]?.result.divergedAt ?? 0, {
      hint: `their records are in ${output}; try a lower learning rate, or longer warm-up`,
    });
  }
  terminal.line(`everything is in ${output}`);
  if (outcome.checkpoint !== null)
    terminal.line(`next: steadytune predict --model ${outcome.checkpoint} < texts.jsonl`);
}

function tableOf({ best, trials }: BestOfTrials): string {
  const metric = trials[0]?.result.metric ?? "";
  return table(
    [`${trials[0]?.result.task ?? ""}: ${metric}`, "validation", "test", ""],
    trials.map(({ trial, result }) => [
      trial.seed,
      score(result.best?.validation[metric]),
      scoreWithInterval(result.best?.test[metric], result.best?.intervals.test ?? null),
      trial.id === best?.trial.id
        ? "best on validation"
        : result.diverged
          ? "diverged"
          : result.degenerate
            ? "degenerate"
            : "",
    ]),
    [0, 3],
  );
}
