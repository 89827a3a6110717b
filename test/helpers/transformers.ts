import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";

const program = fileURLToPath(new URL("../../test/transformers/logits.py", import.meta.url));

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

/** One Python for all tests of a file: importing transformers takes longer than anything that it is asked. */
let running: { child: ChildProcess; answers: AsyncIterator<string> } | null = null;

/**
 * Lets transformers itself load a folder and compute; one call at a time. It needs STEADYTUNE_PYTHON, a Python with
 * torch and transformers (scripts/transformers-python.mjs makes one); without it the test passes with a printed reason,
 * and this is null.
 */
export async function runTransformers(
  t: ExecutionContext,
  folder: string,
  request: TransformersRequest,
): Promise<TransformersAnswer | null> {
  const python = process.env["STEADYTUNE_PYTHON"];
  if (!python) {
    t.log("skipped: STEADYTUNE_PYTHON names no Python with transformers (node scripts/transformers-python.mjs)");
    t.pass();
    return null;
  }
  running ??= start(python);
  running.child.stdin?.write(`${JSON.stringify({ folder, ...request })}\n`);
  const { value, done } = await running.answers.next();
  if (done) throw new Error(`${program} ended without an answer; its message stands above`);
  const answer = JSON.parse(value) as TransformersAnswer | { error: string };
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}

export function stopTransformers(): void {
  running?.child.kill();
  running = null;
}

function start(python: string): NonNullable<typeof running> {
  const child = spawn(python, [program], {
    env: { ...process.env, HF_HUB_OFFLINE: "1", HF_HUB_DISABLE_PROGRESS_BARS: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  return { child, answers: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}
