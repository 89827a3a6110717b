import { existsSync } from "node:fs";
import type { Command } from "commander";
import { nearest } from "../../config/suggest.js";
import { ConfigError } from "../../errors.js";
import { addConfigOptions, configFromOptions } from "../config-options.js";
import { duration } from "../format.js";
import { interruptible } from "../interrupt.js";
import { printReport } from "../report.js";
import { openTerminal } from "../terminal.js";
import { addExamples, printJson, type CommonOptions } from "../verb.js";
import { watchStudy } from "../watch-study.js";
import { addChoiceOptions, readChosenStudy, type ChoiceFlags } from "./choice.js";
import { addExecutorOptions, chosenExecutor, type ExecutorFlags } from "./executor.js";
import { tellChoices } from "./choices.js";
import { defaultFolder } from "./folder.js";
import { budgetOf, mostWorkers, wholeNumber } from "./options.js";
import { submit } from "./submit.js";
import { tellEnd } from "./tell-end.js";

interface StudyFlags extends CommonOptions, ChoiceFlags, ExecutorFlags, Record<string, unknown> {
  output?: string;
  budget?: string;
  replan?: boolean;
}

/** `study FILE`: plan, run and report in one. */
export function defineEverything(command: Command): void {
  command
    .description(
      "Runs every recipe of a study with every seed, and writes a report. Finished runs are never run again: the same " +
        "command goes on where it was stopped. Config flags go on top of every recipe of the study.",
    )
    .argument("<file>", "the study, a JSON file")
    .option("--workers <n>", "runs side by side (default: one per GPU; on the CPU as many as cores and memory allow)")
    .option("--budget <hours>", "begin no more runs once those that are finished took so long together")
    .option("--replan", "drop planned runs whose config, data or model has changed, instead of refusing to mix them")
    .allowExcessArguments()
    .action(everything);
  addChoiceOptions(command);
  addExecutorOptions(command);
  addConfigOptions(command);
  addExamples(command, [
    ["The quickstart", "steadytune study configs/quickstart/study.json"],
    [
      "The same recipes and seeds on your own table",
      "steadytune study configs/quickstart/study.json --model bert-base-uncased --data tickets.csv\n" +
        "--text body --label queue --set optimizer.learningRate=2e-5 --output runs/tickets",
    ],
    [
      "An experiment of the paper in minutes, on a small model",
      "steadytune study configs/paper/figure2.json --preset small --model ./all-minilm-l6 --data ./glue",
    ],
    [
      "Step by step, also from several terminals or machines at once",
      "steadytune study plan study.json --output runs/tickets\nsteadytune study run runs/tickets",
    ],
  ]);
}

/** What is taken for a file and its arguments may have been meant for a verb. */
function refuseUnknownVerb({ args, commands }: Command): void {
  const [word = "", ...more] = args;
  const verbs = commands.map((verb) => verb.name());
  const near = nearest(word, verbs);
  if (more.length > 0 || (near !== undefined && !existsSync(word))) {
    throw new ConfigError(`study has no verb "${word}"`, {
      hint: near === undefined ? `there are: ${verbs.join(", ")}` : `did you mean "${near}"?`,
    });
  }
}

async function everything(file: string, options: StudyFlags, command: Command): Promise<void> {
  refuseUnknownVerb(command);
  const [{ planStudy, runStudy }, { writeReport }] = await Promise.all([
    import("../../study/run.js"),
    import("../../report/write-report.js"),
  ]);
  const workers = options.workers === undefined ? undefined : wholeNumber("--workers", options.workers, 1, mostWorkers);
  const budget = budgetOf(options);
  const { output: given, ...overrides } = await configFromOptions(options);
  const study = await readChosenStudy(file, overrides, options);
  const output = given ?? defaultFolder(study);
  const terminal = await openTerminal(options);
  terminal.line(terminal.colors.bold(study.title));
  const slurm = chosenExecutor(options, study.executor ?? undefined);
  if (slurm !== null) {
    await planStudy(study, output, { replan: options.replan });
    await submit(output, slurm, options);
    return;
  }
  const begunMs = performance.now();
  let end: Awaited<ReturnType<typeof runStudy>>;
  try {
    end = await interruptible(
      terminal,
      (signal) =>
        runStudy(study, { output, workers, budget, replan: options.replan, signal, onEvent: watchStudy(terminal) }),
      { hint: "the same command goes on where it stopped" },
    );
  } finally {
    terminal.clear();
  }
  const report = await writeReport([output], output);
  if (options.json) printJson(report);
  else {
    terminal.line();
    printReport(report.summaries);
    terminal.line();
  }
  tellChoices(end.manifest, terminal);
  tellEnd(end, output, terminal);
  terminal.line(`${duration(performance.now() - begunMs)}; the report with figures: ${report.path}`);
  if (study.next !== null) terminal.line(study.next);
}
