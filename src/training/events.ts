import type { RunResult, Scores, TransferOrigin } from "./result.js";

/** What happens in a run, in order. Start, steps, diagnostics, evaluations and divergence go into `log.jsonl`. */
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
      /** The intermediate task that the weights come from; null where they are the model's own. */
      transfer: TransferOrigin | null;
    }
  /** What happens in the run of the intermediate task, while that is trained. */
  | { type: "transfer"; event: RunEvent }
  | { type: "note"; message: string }
  /** Another process is training the intermediate task; the run goes on when that has ended. */
  | { type: "waiting"; message: string }
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
  | {
      type: "diagnostics";
      /** Every `diagnosticsEvery` steps, and the last. */
      step: number;
      steps: number;
      /** L2 distance to where fine-tuning began, by block: "embeddings", "blocks.0", ..., "pooler", "classifier". */
      distances: Record<string, number>;
      /** Of this step, before clipping. */
      gradNorm: number;
      /** How many times larger this step's update is without bias correction than with it (paper, Figure 1). */
      biasRatio: number;
      /** Mean over the steps since the last such event. */
      loss: number;
      /** The share of those steps whose gradient was clipped, 0 to 1. */
      clippedShare: number;
      elapsedMs: number;
    }
  | { type: "evaluation"; step: number; steps: number; validation: Scores; best: boolean; elapsedMs: number }
  | { type: "diverged"; step: number; elapsedMs: number }
  | { type: "state"; step: number }
  | { type: "end"; result: RunResult };
