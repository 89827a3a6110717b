import type { RunEvent } from "../training/events.js";
import { prepare, preparedKey, type Prepared } from "../training/prepare.js";
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
      prepared = await prepare(trial.config, { signal, onEvent });
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
    if (event.type === "end" || event.type === "state") return;
    if (event.type === "step") {
      const now = performance.now();
      if (now - sentAt < stepEventMs && event.step < event.steps) return;
      sentAt = now;
    }
    send(event);
  };
}
