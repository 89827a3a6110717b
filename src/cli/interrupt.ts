import { AbortedError, type ErrorDetails } from "../errors.js";
import type { Terminal } from "./terminal.js";

type StopSignal = "SIGINT" | "SIGTERM" | "SIGUSR2";
/** USR2 is what Slurm is asked to send ahead of a time limit; like TERM it means: save and stop. */
const stopSignals: readonly StopSignal[] = ["SIGINT", "SIGTERM", "SIGUSR2"];

/** Work that a signal to the process stopped, after it had saved what it could. */
export class InterruptedError extends AbortedError {
  readonly exitCode: 130 | 143;

  constructor(signal: StopSignal, details: ErrorDetails) {
    super(`stopped by ${signal}`, details);
    this.exitCode = signal === "SIGINT" ? 130 : 143;
  }
}

/**
 * Runs `work` with an AbortSignal that fires on the first SIGINT, SIGTERM or SIGUSR2; the second one ends the process
 * on the spot, without waiting for anything.
 *
 * @param hint what to do to go on
 * @param patient takes no second signal for a demand to hurry: for batch systems, which send several and then kill
 * @throws InterruptedError when `work` rejects after a signal with an abort
 */
export async function interruptible<T>(
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<T>,
  { hint, patient = false }: { hint?: string; patient?: boolean } = {},
): Promise<T> {
  const controller = new AbortController();
  let received: StopSignal | undefined;
  const stop = (signal: StopSignal) => {
    if (received !== undefined && patient) return;
    if (received !== undefined) {
      for (const name of stopSignals) process.removeListener(name, stop);
      terminal.clear();
      process.kill(process.pid, signal === "SIGINT" ? "SIGINT" : "SIGTERM");
      return;
    }
    received = signal;
    const again = signal === "SIGINT" ? "; Ctrl-C again stops at once" : "";
    terminal.line(`stopping as soon as everything is saved${again}`);
    controller.abort(new AbortedError(`stopped by ${signal}`));
  };
  for (const name of stopSignals) process.on(name, stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (received !== undefined && isAbort(error))
      throw new InterruptedError(received, { cause: error, ...(hint !== undefined && { hint }) });
    throw error;
  } finally {
    for (const name of stopSignals) process.removeListener(name, stop);
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof AbortedError || (error instanceof Error && error.name === "AbortError");
}
