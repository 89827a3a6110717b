import type { Command } from "commander";
import type { Check, VerifyReport } from "../verify/report.js";
import { addConfigOptions, configFromOptions } from "./config-options.js";
import { outputColors } from "./terminal.js";
import { addExamples, print, printJson, type CommonOptions } from "./verb.js";

interface VerifyOptions extends CommonOptions {
  model?: string;
  dump?: string;
}

export function define(command: Command): void {
  command
    .description(
      "Checks this installation numerically: forward and backward passes, the optimizer, training runs and checkpoint " +
        "formats against reference values made by PyTorch and transformers. Prints a line per check with its largest " +
        "relative error and exits with 1 when one fails.",
    )
    .argument("[bundle]", "folder of reference values; a small one ships with steadytune")
    .option("--model <path>", "folder of the weights that minilm-real in the bundle was made with")
    .option("--dump <file>", "write every tensor that was computed to this safetensors file")
    .action(verify);
  addConfigOptions(command, ["threads", "engine", "device", "dtype"]);
  addExamples(command, [
    ["The values that ship with steadytune", "steadytune verify"],
    ["The same in bfloat16, by plain operators", "steadytune verify --dtype bfloat16 --engine reference"],
    ["Compare with a program of your own", "steadytune verify ./reference --dump computed.safetensors --json"],
  ]);
}

async function verify(bundle: string | undefined, options: VerifyOptions): Promise<void> {
  const [{ verify: compare }, { completeConfig }] = await Promise.all([
    import("../verify/verify.js"),
    import("../config/resolve.js"),
  ]);
  const { threads: count, engine: form, device: place, dtype: numbers } = options as Record<string, string>;
  const given = await configFromOptions({ threads: count, engine: form, device: place, dtype: numbers });
  const { threads, engine, device, dtype } = completeConfig(given);
  const colors = outputColors();
  const line = ({ name, error, tolerance, ok }: Check) =>
    `${ok ? colors.green("ok    ") : colors.red("FAILED")}  ${error.toExponential(1)} <= ${tolerance.toExponential(0)}  ${name}`;
  const report: VerifyReport = await compare(bundle, {
    model: options.model,
    dump: options.dump,
    threads,
    engine,
    device,
    dtype,
    onCheck: options.json ? undefined : (check) => print(line(check)),
  });
  if (options.json) printJson(report);
  else print(summary(report));
  if (!report.ok) process.exitCode = 1;
}

function summary({ checks, skipped }: VerifyReport): string {
  const failed = checks.filter(({ ok }) => !ok).length;
  return [
    ...skipped.map(({ name, reason }) => `skipped  ${name}: ${reason}`),
    `${checks.length - failed} passed, ${failed} failed, ${skipped.length} skipped`,
  ].join("\n");
}
