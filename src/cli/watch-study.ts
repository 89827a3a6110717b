import type { Trial } from "../study/plan.js";
import type { StudyEvent } from "../study/run.js";
import { bar, count, duration, score } from "./format.js";
import type { Terminal } from "./terminal.js";

interface WorkerLine {
  trial: Trial;
  step: number;
  steps: number;
  loss: number | null;
  metric: string;
  best: number | undefined;
  note: string;
}

/**
 * Shows a study as it goes: a line per finished run everywhere, and on a terminal a bar for the whole with the time
 * left, and below it a line per worker.
 */
export function watchStudy(terminal: Terminal): (event: StudyEvent) => void {
  const { colors } = terminal;
  const begunMs = performance.now();
  const workers = new Map<number, WorkerLine>();
  const elsewhere = new Set<Trial>();
  let total = 0;
  let totalWeight = 0;
  let done = 0;
  let doneWeight = 0;
  /** What earlier calls did says nothing about the speed of this one. */
  let earlierWeight = 0;

  const draw = (): void => {
    const running = [...workers.values()].reduce(
      (sum, { trial, step, steps }) => sum + weight(trial) * (step / Math.max(steps, 1)),
      0,
    );
    const fraction = totalWeight === 0 ? 1 : (doneWeight + running) / totalWeight;
    const mine = doneWeight + running - earlierWeight;
    const elapsedMs = performance.now() - begunMs;
    // The first moments go into loading, and would promise hours.
    const leftMs = ((totalWeight - doneWeight - running) / mine) * elapsedMs;
    const head = [
      `${bar(fraction, 30)} ${String(Math.floor(100 * fraction)).padStart(3)}%`,
      `${done} of ${count(total, "run")}`,
      ...(mine > 0.02 * totalWeight ? [`ETA ${duration(leftMs)}`] : []),
    ];
    const names = [...workers.values()].map(({ trial }) => `${trial.recipe}, ${trial.seed}`);
    const widest = Math.max(0, ...names.map((name) => name.length));
    const lines = [...workers]
      .sort(([a], [b]) => a - b)
      .map(([, line], i) => {
        const parts = [`${(names[i] ?? "").padEnd(widest)}`];
        if (line.note !== "") parts.push(line.note);
        else parts.push(`step ${String(line.step).padStart(String(line.steps).length)}/${line.steps}`);
        if (line.loss !== null) parts.push(`loss ${line.loss.toFixed(4)}`);
        if (line.best !== undefined) parts.push(`best ${line.metric} ${score(line.best)}`);
        return colors.dim(parts.join("  ").slice(0, terminal.width));
      });
    terminal.status([head.join("  "), ...lines].join("\n"));
  };

  return (event) => {
    switch (event.type) {
      case "planned": {
        total = event.trials.length;
        totalWeight = event.trials.reduce((sum, trial) => sum + weight(trial), 0);
        done = event.finished.length;
        doneWeight = event.finished.reduce((sum, trial) => sum + weight(trial), 0);
        earlierWeight = doneWeight;
        const before =
          done === 0 ? "" : done === total ? "; all are finished" : `; ${done} of them are finished already`;
        const failed = event.failed.length === 0 ? "" : `; ${event.failed.length} failed before`;
        terminal.line(`${count(total, "run")}${before}${failed}`);
        break;
      }
      case "trial-start":
        workers.set(event.worker, {
          trial: event.trial,
          ...{ step: 0, steps: 0, loss: null, metric: "", best: undefined, note: "starting" },
        });
        break;
      case "trial-event": {
        const line = workers.get(event.worker);
        if (line !== undefined) follow(line, event.event);
        if (event.event.type === "warning") terminal.warn(event.event.message);
        break;
      }
      case "trial-end": {
        workers.delete(event.worker);
        done += 1;
        doneWeight += weight(event.trial);
        const { metric, best, degenerate, diverged, divergedAt, seconds, steps } = event.result;
        const remark = diverged
          ? `  ${colors.yellow(`diverged at step ${divergedAt} of ${steps}`)}`
          : degenerate
            ? `  ${colors.yellow("degenerate")}`
            : "";
        terminal.line(
          `${String(done).padStart(String(total).length)}/${total}  ${nameOf(event.trial)}  test ${metric} ${score(best?.test[metric])}  ${duration(1000 * seconds.total)}${remark}`,
        );
        break;
      }
      case "trial-failed":
        workers.delete(event.worker);
        terminal.line(`${colors.red("failed:")} ${nameOf(event.trial)}: ${event.error.message}`);
        if (event.error.hint !== undefined) terminal.line(`  hint: ${event.error.hint}`);
        break;
      case "trial-elsewhere":
        workers.delete(event.worker);
        if (elsewhere.has(event.trial)) break;
        elsewhere.add(event.trial);
        terminal.line(`${nameOf(event.trial)} is being run by another process`);
        break;
      case "worker-lost":
        terminal.warn(`${nameOf(event.trial)}: ${event.message}`);
        break;
    }
    draw();
  };
}

type RunEvent = Extract<StudyEvent, { type: "trial-event" }>["event"];

function follow(line: WorkerLine, event: RunEvent): void {
  switch (event.type) {
    case "prepare":
      line.note = event.phase === "tokenize" ? "tokenizing" : `loading ${event.phase}`;
      break;
    case "start":
      Object.assign(line, { note: "", metric: event.metric, steps: event.steps });
      break;
    case "resume":
      line.step = event.step;
      break;
    case "step":
      Object.assign(line, { note: "", step: event.step, steps: event.steps });
      line.loss = line.loss === null ? event.loss : 0.9 * line.loss + 0.1 * event.loss;
      break;
    case "evaluation":
      if (event.best) line.best = event.validation[line.metric];
      break;
    case "transfer":
      followTransfer(line, event.event);
      break;
    case "waiting":
      line.note = "waiting for the intermediate task";
      break;
    default:
      break;
  }
}

function followTransfer(line: WorkerLine, event: RunEvent): void {
  if (event.type === "prepare") line.note = "intermediate task: loading";
  if (event.type === "step") line.note = `intermediate task: step ${event.step}/${event.steps}`;
}

/** How long a trial takes beside the others: its steps or epochs. */
function weight({ config }: Trial): number {
  return config.steps ?? config.epochs ?? 1;
}

function nameOf({ task, recipe, seed }: Trial): string {
  return `${recipe} on ${task}, ${seed}`;
}
