import type { RunEvent } from "./events.js";
import type { RunResult } from "./result.js";

/** A run under way: its events as they happen, and its result. */
export interface FinetuneRun extends AsyncIterable<RunEvent>, AsyncDisposable {
  /** Rejects with DivergedError, AbortedError, or what else went wrong. */
  readonly result: Promise<RunResult>;
}

/** Starts work on the next tick and hands out its events to `onEvent` and to every iterator. */
export function runStream(
  work: (hooks: { signal: AbortSignal; onEvent: (event: RunEvent) => void }) => Promise<RunResult>,
  outside: { signal?: AbortSignal | undefined; onEvent?: ((event: RunEvent) => void) | undefined },
): FinetuneRun {
  const stop = new AbortController();
  const signal = outside.signal ? AbortSignal.any([outside.signal, stop.signal]) : stop.signal;
  const listeners = new Set<(event: RunEvent) => void>();
  const onEvent = (event: RunEvent): void => {
    outside.onEvent?.(event);
    for (const listener of listeners) listener(event);
  };
  const result = Promise.resolve().then(() => work({ signal, onEvent }));
  const ended = result.then(
    () => {},
    () => {},
  );

  /** The run stops at its next step, saves its state and has let go of everything when this resolves. */
  const abandon = async (): Promise<void> => {
    stop.abort();
    await ended;
  };

  return {
    result,
    async *[Symbol.asyncIterator]() {
      const queue: RunEvent[] = [];
      let wake = (): void => {};
      let over = false;
      const listener = (event: RunEvent): void => {
        queue.push(event);
        wake();
      };
      listeners.add(listener);
      void ended.then(() => {
        over = true;
        wake();
      });
      try {
        for (;;) {
          for (let event = queue.shift(); event; event = queue.shift()) yield event;
          if (over) break;
          await new Promise<void>((resolve) => (wake = resolve));
        }
        await result;
      } finally {
        listeners.delete(listener);
        await abandon();
      }
    },
    [Symbol.asyncDispose]: abandon,
  };
}
