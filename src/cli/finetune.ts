import type { Command } from "commander";
import { DivergedError } from "../errors.js";
import type { RunEvent } from "../training/events.js";
import type { RunResult } from "../training/result.js";
import { addConfigOptions, addMethodOption, configFromOptions } from "./config-options.js";
import { finetuneTrials } from "./finetune-trials.js";
import { duration, rate, score, scoreWithInterval } from "./format.js";
import { interruptible } from "./interrupt.js";
import { openTerminal, type Terminal } from "./terminal.js";
import { table } from "./table.js";
import { watchRun } from "./watch-run.js";
import { addExamples, print, printJson, type CommonOptions } from "./verb.js";

export function define(command: Command): void {
  command
    .description(
      "Trains one model and scores it on rows that it has not seen. The output folder then holds config.json, " +
        "result.json, log.jsonl, predictions.jsonl and best/, a checkpoint that transformers loads as it is.",
    )
    .option("--trials <n>", "train with this many seeds and keep the best on validation (advice: 5 to 10)")
    .action(finetune);
  addConfigOptions(command);
  addMethodOption(command);
  addExamples(command, [
    ["Your own table", "steadytune finetune --model ./bert-base-uncased --data tickets.csv --text body --label queue"],
    [
      "A GLUE task, as the paper trains it",
      "steadytune finetune --model ./bert-large-uncased --task RTE --data ./glue",
    ],
    [
      "Few rows: fresh top layers and longer training",
      "steadytune finetune --recipe recommended --model ./bert-base-uncased --data tickets.csv",
    ],
    [
      "An intermediate task first, once for all runs beside this one",
      "steadytune finetune --model ./bert-base-uncased --task RTE --data ./glue --set transfer.task=MNLI",
    ],
    [
      "Five seeds side by side, of which the best on validation stays",
      "steadytune finetune --trials 5 --model ./bert-base-uncased --data tickets.csv",
    ],
    ["Go on after Ctrl-C, a crash or a kill", "steadytune finetune --resume ... # the same command line as before"],
    [
      "Any setting, nested ones too",
      "steadytune finetune --recipe ./mine.json --set optimizer.learningRate=5e-5 --steps 400",
    ],
  ]);
}

async function finetune(options: CommonOptions & Record<string, unknown> & { trials?: string }): Promise<void> {
  if (options.trials !== undefined) {
    await finetuneTrials(await configFromOptions(options), options.trials, options);
    return;
  }
  const [{ resolveConfig }, { finetune: start }] = await Promise.all([
    import("../config/resolve.js"),
    import("../training/finetune.js"),
  ]);
  const config = resolveConfig(await configFromOptions(options));
  const terminal = await openTerminal(options);
  let result: RunResult | undefined;
  try {
    const train = async (signal: AbortSignal) => {
      const watch = watchRun(terminal, config);
      const onEvent = (event: RunEvent) => {
        if (event.type === "end") result = event.result;
        watch(event);
      };
      result = await start(config, { signal, onEvent }).result;
    };
    await interruptible(terminal, train, { hint: "the same command line with --resume goes on from here" });
  } catch (error) {
    if (error instanceof DivergedError && result !== undefined && options.json) printJson(result);
    throw error;
  }
  terminal.clear();
  if (result === undefined) return;
  if (options.json) printJson(result);
  else report(result, config.output, config.keep === "best", terminal);
}

/** The scores for humans, on stdout; where things lie and what comes next, on stderr. */
function report(result: RunResult, output: string, kept: boolean, terminal: Terminal): void {
  const { metric, best, last, majority, rows, seconds, steps, tokens } = result;
  const lines = (
    [
      ["best", best],
      ["last", last],
    ] as const
  ).flatMap(([name, scores]) =>
    scores === null
      ? []
      : [
          [
            `${name}, step ${scores.step}`,
            scoreWithInterval(scores.validation[metric], scores.intervals.validation),
            scoreWithInterval(scores.test[metric], scores.intervals.test),
          ],
        ],
  );
  print(
    table(
      [`${result.task}: ${metric}`, `validation (${rows.validation} rows)`, `test (${rows.test} rows)`],
      [...lines, ["majority class", score(majority.validation), score(majority.test)]],
    ),
  );
  if (result.degenerate) {
    terminal.warn("no better than always predicting the majority class; longer training or another seed may help");
  }
  const perSecond = rate(tokens / Math.max(seconds.train, 1e-3));
  terminal.line(`${steps} steps in ${duration(seconds.total * 1000)}, ${perSecond} tokens/s`);
  terminal.line(`everything is in ${output}`);
  if (kept) terminal.line(`next: steadytune predict --model ${output}/best < texts.jsonl`);
}
