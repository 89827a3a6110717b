import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { AbortedError, LockedError, SteadytuneError } from "../errors.js";
import { preparedKey } from "../training/prepare.js";
import type { Executor, ExecutorOptions } from "./executor.js";
import { isOfTheMachine } from "./machine-error.js";
import { fromPlain, type Answer, type Order } from "./message.js";
import type { Trial } from "./plan.js";
import { TrialQueue } from "./trial-queue.js";
import { isFinished, lockTrial, recordFailure } from "./trial.js";
import type { Workers } from "./workers.js";

const workerModule = fileURLToPath(new URL("./worker.js", import.meta.url));

/** A worker that dies takes its trial with it; the trial goes on in a new one, this many times in all. */
const attempts = 2;

/** How long to wait before a trial that another process holds is looked at again. */
const elsewhereMs = 2000;

/** How much of what a worker wrote last is kept for the message about its death. */
const tailCharacters = 2000;

/** Runs trials on this machine, in `count` processes, one trial at a time in each. */
export function localExecutor({ count, gpus }: Workers): Executor {
  return async (trials, options) => {
    const queue = new TrialQueue(trials);
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
    const lanes = Array.from({ length: Math.min(count, trials.length) }, (_, number) =>
      lane({ number, gpu: gpus[number % gpus.length] ?? null }, queue, { ...options, signal }).catch(
        (error: unknown) => {
          stop.abort();
          throw error;
        },
      ),
    );
    const ends = await Promise.allSettled(lanes);
    const failure = ends.find((end) => end.status === "rejected" && !(end.reason instanceof AbortedError));
    if (failure?.status === "rejected") throw failure.reason;
    if (options.signal?.aborted) throw new AbortedError("the study was stopped");
  };
}

interface Lane {
  number: number;
  gpu: string | null;
}

/** One worker process after the other, as long as there are trials. */
async function lane({ number, gpu }: Lane, queue: TrialQueue, options: ExecutorOptions): Promise<void> {
  const { folder, signal, mayBegin, onEvent } = options;
  let worker: WorkerProcess | null = null;
  try {
    let loaded: string | null = null;
    let elsewhere = 0;
    while (!signal?.aborted && (await mayBegin())) {
      const trial = queue.take(loaded);
      if (trial === null) break;
      loaded = preparedKey(trial.config);
      onEvent({ type: "trial-start", worker: number, trial });
      for (let attempt = 1; ; attempt++) {
        worker ??= new WorkerProcess(gpu);
        const end = await worker.run(
          { type: "run", trial, folder },
          {
            signal,
            onEvent(event) {
              if (event.type === "start") queue.started(trial);
              onEvent({ type: "trial-event", worker: number, trial, event });
            },
          },
        );
        if (end.type === "done") {
          elsewhere = 0;
          onEvent({ type: "trial-end", worker: number, trial, result: end.result });
          break;
        }
        if (end.type === "died") worker = null;
        if (signal?.aborted) throw new AbortedError();
        if (end.type === "died" && attempt < attempts) {
          onEvent({ type: "worker-lost", worker: number, trial, message: `${end.error.message}; the trial goes on` });
          continue;
        }
        if (isOfTheMachine(end.error)) throw end.error;
        if (end.error.code === "ERR_LOCKED") {
          onEvent({ type: "trial-elsewhere", worker: number, trial });
          queue.putBack(trial);
          elsewhere += 1;
          if (elsewhere >= queue.length) await sleep(elsewhereMs, undefined, signal ? { signal } : {}).catch(() => {});
        } else {
          if (end.type === "died") await recordDeath(folder, trial, end.error);
          onEvent({ type: "trial-failed", worker: number, trial, error: end.error });
        }
        break;
      }
      queue.ended(trial);
    }
  } finally {
    await worker?.end();
  }
}

/** A worker that died could not say itself why its trial failed. */
async function recordDeath(folder: string, trial: Trial, error: SteadytuneError): Promise<void> {
  try {
    await using _lock = await lockTrial(folder, trial);
    if (!isFinished(folder, trial)) await recordFailure(folder, trial, error);
  } catch (locked) {
    // Another process has taken the trial in hand already.
    if (!(locked instanceof LockedError)) throw locked;
  }
}

type End = Extract<Answer, { type: "done" }> | { type: "failed" | "died"; error: SteadytuneError };

function deathHint(message: string, said: string): { hint?: string } {
  if (said !== "") return { hint: `it last wrote: ${said}` };
  return message.endsWith("SIGKILL")
    ? { hint: "unless somebody killed it, memory has run out: try fewer --workers" }
    : {};
}

class WorkerProcess {
  readonly #process: ChildProcess;
  readonly #exit: Promise<string>;
  #tail = "";

  /** @param gpu the only one that it is shown; null where it computes on the CPU */
  constructor(gpu: string | null) {
    const env = gpu === null ? process.env : { ...process.env, CUDA_VISIBLE_DEVICES: gpu };
    const stdio = ["ignore" as const, "ignore" as const, "pipe" as const, "ipc" as const];
    this.#process = fork(workerModule, { env, stdio, serialization: "advanced" });
    this.#process.stderr?.on("data", (piece: Buffer) => {
      this.#tail = (this.#tail + piece.toString()).slice(-tailCharacters);
    });
    this.#exit = new Promise((resolve) => {
      this.#process.once("error", (error) => resolve(`a worker process could not be started: ${error.message}`));
      this.#process.once("exit", (code, signal) =>
        resolve(`a worker process died ${signal === null ? `with exit code ${code}` : `of ${signal}`}`),
      );
    });
  }

  /** Gives the worker a trial and waits for its end; a signal lets it save its state and stop. */
  async run(
    order: Order,
    {
      signal,
      onEvent,
    }: { signal: AbortSignal | undefined; onEvent: (event: Extract<Answer, { type: "event" }>["event"]) => void },
  ): Promise<End> {
    let listen: (answer: Answer) => void = () => {};
    const answered = new Promise<End>((resolve) => {
      listen = (answer) => {
        if (answer.type === "event") onEvent(answer.event);
        else if (answer.type === "done") resolve(answer);
        else resolve({ type: "failed", error: fromPlain(answer.error) });
      };
    });
    const stop = (): void => this.#send({ type: "stop" });
    this.#process.on("message", listen);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      this.#send(order);
      if (signal?.aborted) stop();
      const died = this.#exit.then((message): End => {
        const said = this.#tail.trim();
        return {
          type: "died",
          error: new SteadytuneError("ERR_INTERNAL", message, deathHint(message, said)),
        };
      });
      return await Promise.race([answered, died]);
    } finally {
      this.#process.off("message", listen);
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Lets the process go, and waits until it is gone. */
  async end(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#exit;
  }

  #send(order: Order): void {
    // A worker that has just died is noticed by its exit.
    if (this.#process.connected) this.#process.send(order, () => {});
  }
}
