import { SteadytuneError, type ErrorCode } from "../errors.js";
import type { RunEvent } from "../training/events.js";
import type { RunResult } from "../training/result.js";
import type { Trial } from "./plan.js";

/** From the study to a worker process. */
export type Order = { type: "run"; trial: Trial; folder: string } | { type: "stop" };

/** From a worker process to the study. */
export type Answer =
  { type: "event"; event: RunEvent } | { type: "done"; result: RunResult } | { type: "failed"; error: PlainError };

/** An error as it crosses from process to process. */
export interface PlainError {
  code: ErrorCode;
  message: string;
  hint?: string | undefined;
  stack?: string | undefined;
}

export function toPlain(error: unknown): PlainError {
  const { stack } = error instanceof Error ? error : { stack: undefined };
  if (error instanceof SteadytuneError) return { code: error.code, message: error.message, hint: error.hint, stack };
  return { code: "ERR_INTERNAL", message: error instanceof Error ? error.message : String(error), stack };
}

export function fromPlain({ code, message, hint, stack }: PlainError): SteadytuneError {
  const error = new SteadytuneError(code, message, hint === undefined ? {} : { hint });
  if (stack !== undefined) error.stack = stack;
  return error;
}
