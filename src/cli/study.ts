import type { Command } from "commander";
import { ConfigError } from "../errors.js";
import type { CellSummary } from "../report/summary.js";
import { addConfigOptions, configFromOptions } from "./config-options.js";
import { count, duration } from "./format.js";
import { interruptible } from "./interrupt.js";
import { printReport } from "./report.js";
import { addChoiceOptions, choiceOf, type ChoiceFlags } from "./study-choice.js";
import { openTerminal, type Terminal } from "./terminal.js";
import { addExamples, printJson, type CommonOptions } from "./verb.js";
import { watchStudy } from "./watch-study.js";

interface StudyFlags extends CommonOptions, ChoiceFlags, Record<string, unknown> {
  output?: string;
  workers?: string;
  replan?: boolean;
}

export function define(command: Command): void {
  command
    .description(
      "Runs every recipe of a study with every seed, and writes a report. Finished runs are never run again: the same " +
        "command goes on where it was stopped. Config flags go on top of every recipe of the study.",
    )
    .argument("<file>", "the study, a JSON file")
    .option("--workers <n>", "runs side by side (default: as many as cores and memory allow)")
    .option("--replan", "drop planned runs whose config, data or model has changed, instead of refusing to mix them")
    .action(study);
  addChoiceOptions(command);
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
  ]);
}

async function study(file: string, options: StudyFlags): Promise<void> {
  const [{ readStudyFile }, { runStudy }, { writeReport }] = await Promise.all([
    import("../study/file.js"),
    import("../study/run.js"),
    import("../report/write-report.js"),
  ]);
  const { output: given, ...overrides } = await configFromOptions(options);
  const study = await readStudyFile(file, { overrides, ...choiceOf(options) });
  const output = given ?? `runs/${study.name}`;
  const terminal = await openTerminal(options);
  terminal.line(terminal.colors.bold(study.title));
  const begunMs = performance.now();
  const workers = workersOf(options);
  let end: Awaited<ReturnType<typeof runStudy>>;
  try {
    end = await interruptible(
      terminal,
      (signal) => runStudy(study, { output, workers, replan: options.replan, signal, onEvent: watchStudy(terminal) }),
      { hint: "the same command goes on where it stopped" },
    );
  } finally {
    terminal.clear();
  }
  const report = await writeReport([output], output);
  if (options.json) printJson(report);
  else conclude(report, { terminal, failed: end.failed.length, tookMs: performance.now() - begunMs, next: study.next });
  if (end.failed.length > 0) process.exitCode = 1;
}

function conclude(
  report: { path: string; summaries: CellSummary[] },
  { terminal, failed, tookMs, next }: { terminal: Terminal; failed: number; tookMs: number; next: string | null },
): void {
  terminal.line();
  printReport(report.summaries);
  terminal.line();
  if (failed > 0) terminal.warn(`${count(failed, "run")} failed; the same command tries them again`);
  terminal.line(`${duration(tookMs)}; the report with figures: ${report.path}`);
  if (next !== null) terminal.line(next);
}

function workersOf({ workers }: StudyFlags): number | undefined {
  if (workers === undefined) return undefined;
  const number = Number(workers);
  if (!Number.isInteger(number) || number < 1 || number > 1024) {
    throw new ConfigError(`--workers must be a whole number from 1 to 1024, but is ${workers}`);
  }
  return number;
}
