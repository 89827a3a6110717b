import type { RunResult, Scores } from "./result.js";

/** What happens in a run, in order. Only start, step, evaluation and end go into `log.jsonl`. */
export type RunEvent =
  | {
      type: "prepare";
      phase: "model" | "data" | "tokenize" | "weights";
      /** Bytes (model) or rows (tokenize) done, of `total`; null where a phase has no measure. */
      done: number | null;
      total: number | null;
    }
  | {
      type: "start";
      task: string;
      metric: string;
      steps: number;
      rows: { train: number; validation: number; test: number };
      /** Parameters that the checkpoint did not hold and that were drawn anew. */
      initialised: string[];
    }
  | { type: "note"; message: string }
  | { type: "warning"; message: string }
  | { type: "resume"; step: number; steps: number }
  | {
      type: "step";
      /** From 1 to `steps`. */
      step: number;
      steps: number;
      /** From 0. */
      epoch: number;
      loss: number;
      /** Before clipping. */
      gradNorm: number;
      learningRate: number;
      /** Tokens trained on since the run began. */
      tokens: number;
      /** Since the run began, without the time between a kill and its resume. */
      elapsedMs: number;
    }
  | { type: "evaluation"; step: number; steps: number; validation: Scores; best: boolean; elapsedMs: number }
  | { type: "diverged"; step: number; elapsedMs: number }
  | { type: "state"; step: number }
  | { type: "end"; result: RunResult };
