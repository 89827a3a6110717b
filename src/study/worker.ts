import type { RunEvent } from "../training/events.js";
import { toPlain, type Answer, type Order } from "./message.js";
import { TrialRunner } from "./trial-runner.js";

/** The main module of a worker process: runs one trial at a time for the process that forked it. */

/** More often nobody looks at a step. */
const stepEventMs = 100;

let runner: TrialRunner | null = null;
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
  runner ??= new TrialRunner(folder);
  try {
    const onEvent = throttled((event) => answer({ type: "event", event }));
    answer({ type: "done", result: await runner.run(trial, { signal: stop.signal, onEvent }) });
  } catch (error) {
    answer({ type: "failed", error: toPlain(error) });
  }
}

async function end(): Promise<void> {
  await working;
  await runner?.[Symbol.asyncDispose]();
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
