import { join } from "node:path";
import type { RunEvent } from "../training/events.js";
import { prepare } from "../training/prepare-run.js";
import { preparedKey, type Prepared } from "../training/prepare.js";
import { studyPaths } from "./folder.js";
import { toPlain, type Answer, type Order } from "./message.js";
import { isFinished, readTrialResult, runTrial } from "./trial.js";

/**
 * The main module of a worker process: runs one trial at a time for the process that forked it. Model and data stay
 * loaded from trial to trial as long as the next one needs the same.
 */

/** More often nobody looks at a step. */
const stepEventMs = 100;

let prepared: Prepared | null = null;
let stop = new AbortController();

// Ctrl-C reaches every process of a terminal; the parent decides what stops.
for (const signal of ["SIGINT", "SIGUSR2"] as const) process.on(signal, () => {});
process.on("SIGTERM", () => stop.abort());
// Without a parent nobody wants the rest of the study: the state is saved, and the next `study` goes on from it.
process.on("disconnect", () => {
  stop.abort();
  void end();
});

let working: Promise<void> = Promise.resolve();

process.on("message", (order: Order) => {
  if (order.type === "stop") stop.abort();
  else working = run(order);
});

async function run({ trial, folder }: Extract<Order, { type: "run" }>): Promise<void> {
  stop = new AbortController();
  const { signal } = stop;
  const onEvent = throttled((event) => answer({ type: "event", event }));
  try {
    if (isFinished(folder, trial)) {
      answer({ type: "done", result: await readTrialResult(folder, trial) });
      return;
    }
    if (prepared?.key !== preparedKey(trial.config)) {
      await prepared?.dispose();
      prepared = null;
      const transferFolder = (id: string) => join(studyPaths(folder).stages, id);
      prepared = await prepare(trial.config, { signal, onEvent, transferFolder });
    }
    answer({ type: "done", result: await runTrial(prepared, trial, folder, { signal, onEvent }) });
  } catch (error) {
    answer({ type: "failed", error: toPlain(error) });
  }
}

async function end(): Promise<void> {
  await working;
  await prepared?.dispose();
  process.exit(0);
}

function answer(message: Answer): void {
  if (process.connected) process.send?.(message);
}

function throttled(send: (event: RunEvent) => void): (event: RunEvent) => void {
  let sentAt = -Infinity;
  return (event) => {
    const shown = event.type === "transfer" ? event.event : event;
    if (shown.type === "end" || shown.type === "state" || shown.type === "diagnostics") return;
    if (shown.type === "step") {
      const now = performance.now();
      if (now - sentAt < stepEventMs && shown.step < shown.steps) return;
      sentAt = now;
    }
    send(event);
  };
}
