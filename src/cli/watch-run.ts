import type { ResolvedConfig } from "../config/schema.js";
import type { RunEvent } from "../training/events.js";
import { bar, bytes, count, duration, rate, score } from "./format.js";
import { StepRate } from "./step-rate.js";
import type { Terminal } from "./terminal.js";

/**
 * Shows a run as it goes: a line per evaluation everywhere, and on a terminal a bar with rate, loss, best score and
 * the time left. The run of an intermediate task is shown in the same way, ahead of its run.
 *
 * @param title goes in front of the task's name
 */
export function watchRun(
  terminal: Terminal,
  config: Pick<ResolvedConfig, "batchSize" | "transfer">,
  title = "",
): (event: RunEvent) => void {
  const { colors } = terminal;
  let watchTransfer: ((event: RunEvent) => void) | null = null;
  let metric = "";
  let loss: number | null = null;
  let best: number | undefined;
  const pace = new StepRate();

  const speed = () => {
    const now = pace.rates(config.batchSize);
    return now === null
      ? []
      : [`ETA ${duration(now.leftMs)}`, `${rate(now.rowsPerSecond)} rows/s`, `${rate(now.tokensPerSecond)} tokens/s`];
  };

  return (event) => {
    switch (event.type) {
      case "prepare":
        terminal.status(preparing(event));
        break;
      case "note":
      case "waiting":
        terminal.line(colors.dim(event.message));
        break;
      case "warning":
        terminal.warn(event.message);
        break;
      case "start": {
        metric = event.metric;
        const { train, validation, test } = event.rows;
        terminal.line(
          `${colors.bold(`${title}${event.task}`)}: ${count(train, "training row")}, ${validation} for validation, ${test} for test; ` +
            count(event.steps, "step"),
        );
        break;
      }
      case "resume":
        terminal.line(`going on after step ${event.step} of ${event.steps}`);
        break;
      case "step": {
        pace.add(event);
        loss = loss === null ? event.loss : 0.95 * loss + 0.05 * event.loss;
        const fraction = event.step / event.steps;
        const parts = [
          `${bar(fraction, 20)} ${String(Math.floor(fraction * 100)).padStart(3)}%`,
          `step ${event.step}/${event.steps}`,
          `loss ${loss.toFixed(4)}`,
          ...(best === undefined ? [] : [`best ${metric} ${score(best)}`]),
          ...speed(),
        ];
        terminal.status(fit(parts, terminal.width));
        break;
      }
      case "evaluation": {
        if (event.best) best = event.validation[metric];
        const parts = [
          `step ${event.step}/${event.steps}`,
          ...(loss === null ? [] : [`loss ${loss.toFixed(4)}`]),
          `validation ${metric} ${score(event.validation[metric])}${event.best ? ` ${colors.green("best")}` : ""}`,
          ...(terminal.live ? [] : speed()),
        ];
        terminal.line(parts.join("  "));
        pace.reset();
        break;
      }
      case "diverged":
        terminal.line(`loss or gradient was not finite at step ${event.step}`);
        break;
      case "transfer": {
        const batchSize = config.transfer?.batchSize ?? config.batchSize;
        watchTransfer ??= watchRun(terminal, { batchSize }, "intermediate task ");
        watchTransfer(event.event);
        break;
      }
      case "diagnostics":
      case "state":
      case "end":
        break;
    }
  };
}

const phases = {
  model: "fetching the model",
  data: "reading data",
  tokenize: "tokenizing",
  weights: "loading weights",
};

function preparing({ phase, done, total }: Extract<RunEvent, { type: "prepare" }>): string {
  if (done === null || total === null) return phases[phase];
  const size = phase === "model" ? `${bytes(done)} of ${bytes(total)}` : `${done} of ${count(total, "row")}`;
  return `${bar(done / Math.max(total, 1), 20)} ${phases[phase]}  ${size}`;
}

/** As many parts as fit on a line; the last ones fall away on narrow terminals. */
function fit(parts: readonly string[], width: number): string {
  let line = parts[0] ?? "";
  for (const part of parts.slice(1)) {
    if (line.length + 2 + part.length > width) break;
    line += `  ${part}`;
  }
  return line;
}
