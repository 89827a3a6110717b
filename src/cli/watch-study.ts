import type { Trial } from "../study/plan.js";
import type { StudyEvent } from "../study/run.js";
import { secondsLeft, workLeft, type CellProgress } from "../study/work-left.js";
import type { RunEvent } from "../training/events.js";
import { bar, count, duration, howDiverged, rate, score } from "./format.js";
import { StepRate } from "./step-rate.js";
import type { Terminal } from "./terminal.js";

/** What a worker is at. */
interface WorkerLine {
  trial: Trial;
  step: number;
  steps: number;
  /** That the trial has worked so far. */
  seconds: number;
  loss: number | null;
  metric: string;
  best: number | undefined;
  pace: StepRate;
  /** In place of the step, while there is none. */
  note: string;
  /** How far the intermediate task is that the worker trains. */
  stage: { step: number; steps: number; seconds: number } | null;
}

/**
 * Shows a study as it goes: a line per finished run everywhere, and on a terminal a bar for the whole with the time
 * left and the rate, and below it a line per worker.
 */
export function watchStudy(terminal: Terminal): (event: StudyEvent) => void {
  const { colors } = terminal;
  const workers = new Map<number, WorkerLine>();
  const elsewhere = new Set<string>();
  const ended = new Set<string>();
  /** Of trials that ended in this call, by cell. */
  const tookSeconds = new Map<string, number[]>();
  /** Intermediate tasks that some trial has got past. */
  const stagesDone = new Set<string>();
  let trials: readonly Trial[] = [];

  const left = () => {
    const atWork = [...workers.values()];
    const busy = new Set(atWork.map(({ trial }) => trial.id));
    const cells = new Map<string, CellProgress & { waiting: number }>();
    const cellOf = (trial: Trial) => {
      const key = cellKey(trial);
      const cell = cells.get(key) ?? { finished: tookSeconds.get(key) ?? [], running: [], waiting: 0 };
      cells.set(key, cell);
      return cell;
    };
    const stages = new Map<string, CellProgress>();
    for (const trial of trials) {
      const stage = trial.fingerprint.transfer;
      if (ended.has(trial.id)) continue;
      if (!busy.has(trial.id)) cellOf(trial).waiting += 1;
      if (stage !== undefined && !stagesDone.has(stage)) stages.set(stage, { finished: [], running: [], waiting: 1 });
    }
    for (const { trial, step, steps, seconds, stage } of atWork) {
      const cell = cellOf(trial);
      cells.set(cellKey(trial), { ...cell, running: [...cell.running, { step, steps, seconds }] });
      if (stage !== null && trial.fingerprint.transfer !== undefined) {
        stages.set(trial.fingerprint.transfer, { finished: [], running: [stage], waiting: 0 });
      }
    }
    return workLeft([...cells.values()], [...stages.values()]);
  };

  const head = (): string => {
    const total = trials.reduce((sum, trial) => sum + weight(trial), 0);
    const atWork = [...workers.values()];
    const done =
      trials.filter(({ id }) => ended.has(id)).reduce((sum, trial) => sum + weight(trial), 0) +
      atWork.reduce((sum, { trial, step, steps }) => sum + weight(trial) * (step / Math.max(steps, 1)), 0);
    const fraction = total === 0 ? 1 : done / total;
    const work = left();
    const rows = atWork.map(({ pace, trial }) => pace.rates(trial.config.batchSize)?.rowsPerSecond ?? 0);
    const perSecond = rows.reduce((sum, one) => sum + one, 0);
    return [
      `${bar(fraction, 30)} ${String(Math.floor(100 * fraction)).padStart(3)}%`,
      `${ended.size} of ${count(trials.length, "run")}`,
      ...(work === null
        ? []
        : [`ETA ${duration(1000 * secondsLeft(work, workers.size))}${work.atLeast ? " or more" : ""}`]),
      ...(perSecond > 0 ? [`${rate(perSecond)} rows/s`] : []),
    ].join("  ");
  };

  const draw = (): void => {
    if (!terminal.live) return;
    const tasks = new Set(trials.map(({ task }) => task));
    const sorted = [...workers].sort(([a], [b]) => a - b).map(([, line]) => line);
    const names = sorted.map(({ trial }) => (tasks.size > 1 ? nameOf(trial) : `${trial.recipe}, ${trial.seed}`));
    const widest = Math.max(0, ...names.map((name) => name.length));
    const lines = sorted.map((line, i) => {
      const parts = [(names[i] ?? "").padEnd(widest), whereIs(line)];
      if (line.loss !== null) parts.push(`loss ${line.loss.toFixed(4)}`);
      if (line.best !== undefined) parts.push(`best ${line.metric} ${score(line.best)}`);
      return colors.dim(parts.join("  ").slice(0, terminal.width));
    });
    terminal.status([head().slice(0, terminal.width), ...lines].join("\n"));
  };

  const end = (worker: number, trial: Trial): void => {
    workers.delete(worker);
    ended.add(trial.id);
  };

  return (event) => {
    switch (event.type) {
      case "planned": {
        const before = trials.length;
        trials = event.trials;
        for (const { id } of [...event.finished, ...event.failed]) ended.add(id);
        if (before === 0) terminal.line(whatIsPlanned(event));
        else if (trials.length > before) {
          terminal.line(`${count(trials.length - before, "run")} more: what they depend on is finished`);
        }
        break;
      }
      case "warning":
        terminal.warn(event.message);
        break;
      case "trial-start":
        workers.set(event.worker, starting(event.trial));
        break;
      case "trial-event": {
        const line = workers.get(event.worker);
        if (line !== undefined) follow(line, event.event);
        if (event.event.type === "start" && event.trial.fingerprint.transfer !== undefined) {
          stagesDone.add(event.trial.fingerprint.transfer);
        }
        if (event.event.type === "warning") terminal.warn(event.event.message);
        break;
      }
      case "trial-end": {
        const { trial, result } = event;
        end(event.worker, trial);
        if (!result.diverged) {
          tookSeconds.set(cellKey(trial), [...(tookSeconds.get(cellKey(trial)) ?? []), result.seconds.total]);
        }
        const { metric, best, degenerate, diverged, seconds } = result;
        const remark = diverged
          ? `  ${colors.yellow(howDiverged(result))}`
          : degenerate
            ? `  ${colors.yellow("degenerate")}`
            : "";
        terminal.line(
          `${String(ended.size).padStart(String(trials.length).length)}/${trials.length}  ${nameOf(trial)}  test ${metric} ${score(best?.test[metric])}  ${duration(1000 * seconds.total)}${remark}`,
        );
        break;
      }
      case "trial-failed":
        end(event.worker, event.trial);
        terminal.line(`${colors.red("failed:")} ${nameOf(event.trial)}: ${event.error.message}`);
        if (event.error.hint !== undefined) terminal.line(`  hint: ${event.error.hint}`);
        break;
      case "trial-elsewhere":
        workers.delete(event.worker);
        if (elsewhere.has(event.trial.id)) break;
        elsewhere.add(event.trial.id);
        terminal.line(`${nameOf(event.trial)} is being run by another process`);
        break;
      case "worker-lost":
        terminal.warn(`${nameOf(event.trial)}: ${event.message}`);
        break;
    }
    draw();
  };
}

function whatIsPlanned({ trials, finished, failed }: Extract<StudyEvent, { type: "planned" }>): string {
  const parts = [count(trials.length, "run")];
  if (finished.length === trials.length) parts.push("all are finished");
  else if (finished.length > 0) parts.push(`${finished.length} of them are finished already`);
  if (failed.length > 0) parts.push(`${failed.length} failed before`);
  return parts.join("; ");
}

function starting(trial: Trial): WorkerLine {
  return {
    trial,
    ...{ step: 0, steps: 0, seconds: 0, loss: null, metric: "", best: undefined },
    ...{ pace: new StepRate(), note: "starting", stage: null },
  };
}

function follow(line: WorkerLine, event: RunEvent): void {
  switch (event.type) {
    case "prepare":
      line.note = event.phase === "tokenize" ? "tokenizing" : `loading ${event.phase}`;
      break;
    case "start":
      Object.assign(line, { note: "", stage: null, metric: event.metric, steps: event.steps });
      break;
    case "resume":
      line.step = event.step;
      break;
    case "step":
      Object.assign(line, { step: event.step, steps: event.steps, seconds: event.elapsedMs / 1000 });
      line.loss = line.loss === null ? event.loss : 0.9 * line.loss + 0.1 * event.loss;
      line.pace.add(event);
      break;
    case "evaluation":
      if (event.best) line.best = event.validation[line.metric];
      line.pace.reset();
      break;
    case "transfer":
      if (event.event.type === "prepare") line.note = "intermediate task: loading";
      if (event.event.type === "step") {
        const { step, steps, elapsedMs } = event.event;
        line.stage = { step, steps, seconds: elapsedMs / 1000 };
        line.note = `intermediate task: step ${step}/${steps}`;
      }
      break;
    case "waiting":
      line.note = "waiting for the intermediate task";
      break;
    default:
      break;
  }
}

function whereIs({ note, step, steps }: WorkerLine): string {
  return note === "" ? `step ${String(step).padStart(String(steps).length)}/${steps}` : note;
}

/** How long a trial takes beside the others: its steps or epochs. */
function weight({ config }: Trial): number {
  return config.steps ?? config.epochs ?? 1;
}

function nameOf({ task, recipe, seed }: Trial): string {
  return `${recipe} on ${task}, ${seed}`;
}

function cellKey({ stage, task, recipe }: Trial): string {
  return JSON.stringify([stage, task, recipe]);
}
