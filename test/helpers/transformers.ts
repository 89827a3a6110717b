import type { ExecutionContext } from "ava";
import { pythonProgram } from "./python-program.js";

export interface TransformersRequest {
  rows: { input_ids: number[]; token_type_ids?: number[] }[];
  texts: [text: string, pair: string | null][];
}

export interface TransformersAnswer {
  class: string;
  labels: string[];
  problem: string | null;
  /** Tensors that were missing, unexpected or of another shape, by kind; empty when all fitted. */
  notLoaded: Record<string, string[]>;
  /** [rows][outputs] */
  logits: number[][];
  encoded: TransformersRequest["rows"];
}

const program = pythonProgram<TransformersRequest & { folder: string }, TransformersAnswer>("logits.py");

/** Lets transformers itself load a folder and compute; one call at a time, null without STEADYTUNE_PYTHON. */
export function runTransformers(
  t: ExecutionContext,
  folder: string,
  request: TransformersRequest,
): Promise<TransformersAnswer | null> {
  return program.ask(t, { folder, ...request });
}

export const stopTransformers = program.stop;
