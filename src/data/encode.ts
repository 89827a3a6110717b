import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { AbortedError, SteadytuneError } from "../errors.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { encodeRows } from "./encode-rows.js";
import type { EncodedRows } from "./encode-rows.js";
import type { ChunkRequest, EncodeWorkerData } from "./encode-worker.js";
import type { EncodedSplit } from "./encoded.js";
import type { Example, Problem } from "./task.js";

/** Rows that a thread takes at a time: some tens of milliseconds of work. */
const chunkRows = 512;
/** Below this, starting threads (each reads the tokenizer anew) costs more than they save. */
const parallelRows = 10_000;
const mostWorkers = 8;

export interface EncodeOptions {
  /** Longest row in tokens, special tokens included. */
  maxLength: number;
  /** Decides the type of the labels: class indices or scores. */
  problem: Problem;
  /** Called as rows are done; `rows` never falls and ends at `total`. */
  onProgress?: ((rows: number, total: number) => void) | undefined;
  /** Tokenizer threads; 0 does the work on this one. By default one per core, at most 8, from 10,000 rows on. */
  workers?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Tokenizes all rows once. The result does not depend on the number of threads.
 *
 * Throws AbortedError when the signal fires, and what the tokenizer throws.
 */
export async function encodeExamples(
  tokenizer: Tokenizer,
  examples: readonly Example[],
  options: EncodeOptions,
): Promise<EncodedSplit> {
  const chunks: Example[][] = [];
  for (let i = 0; i < examples.length; i += chunkRows) chunks.push(examples.slice(i, i + chunkRows));
  const workers = Math.min(options.workers ?? defaultWorkers(examples.length), chunks.length);
  let done = 0;
  const progress = (rows: number) => {
    done += rows;
    options.onProgress?.(done, examples.length);
  };
  const encoded =
    workers === 0
      ? await encodeHere(tokenizer, chunks, options, progress)
      : await encodeInThreads(tokenizer, chunks, workers, options, progress);
  return joined(examples, encoded, options.problem);
}

function defaultWorkers(rows: number): number {
  return rows < parallelRows ? 0 : Math.min(availableParallelism(), mostWorkers);
}

async function encodeHere(
  tokenizer: Tokenizer,
  chunks: Example[][],
  { maxLength, signal }: EncodeOptions,
  progress: (rows: number) => void,
): Promise<EncodedRows[]> {
  const encoded: EncodedRows[] = [];
  for (const rows of chunks) {
    throwIfAborted(signal);
    encoded.push(encodeRows(tokenizer, rows, maxLength));
    progress(rows.length);
    // Lets timers, signals and the progress bar run in between.
    await setImmediate();
  }
  return encoded;
}

async function encodeInThreads(
  tokenizer: Tokenizer,
  chunks: Example[][],
  count: number,
  { maxLength, signal }: EncodeOptions,
  progress: (rows: number) => void,
): Promise<EncodedRows[]> {
  throwIfAborted(signal);
  const [file] = tokenizer.files;
  if (file === undefined) throw new SteadytuneError("ERR_INTERNAL", "a tokenizer without files cannot run in threads");
  // An error loses its class on the way between threads, so what a wrong maxLength throws is thrown here.
  encodeRows(tokenizer, chunks[0]?.slice(0, 1) ?? [], maxLength);

  const workerData: EncodeWorkerData = { folder: dirname(file), maxLength };
  const url = new URL("./encode-worker.js", import.meta.url);
  const workers = Array.from({ length: count }, () => new Worker(url, { workerData }));
  const encoded = new Array<EncodedRows>(chunks.length);
  const finished = new AbortController();
  let next = 0;
  const work = (worker: Worker) =>
    new Promise<void>((resolve, reject) => {
      const send = () => {
        const rows = chunks[next];
        if (rows === undefined) return resolve();
        const request: ChunkRequest = { chunk: next++, rows: rows.map(({ text, pair }) => ({ text, pair })) };
        worker.postMessage(request);
      };
      worker.on("message", (answer: { chunk: number; encoded: EncodedRows }) => {
        encoded[answer.chunk] = answer.encoded;
        progress(answer.encoded.lengths.length);
        send();
      });
      worker.on("error", (cause) => reject(threadFailed(cause)));
      worker.on("exit", (code) => reject(threadFailed(new Error(`it exited with code ${code}`))));
      signal?.addEventListener("abort", () => reject(new AbortedError()), { signal: finished.signal });
      send();
    });
  try {
    await Promise.all(workers.map(work));
    return encoded;
  } finally {
    finished.abort();
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function threadFailed(cause: unknown): SteadytuneError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SteadytuneError("ERR_INTERNAL", `a tokenizer thread failed: ${reason}`, { cause });
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError();
}

function joined(examples: readonly Example[], encoded: readonly EncodedRows[], problem: Problem): EncodedSplit {
  const tokens = encoded.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  const split: EncodedSplit = {
    tokenIds: new Int32Array(tokens),
    segmentIds: new Int32Array(tokens),
    rowOffsets: new Int32Array(examples.length + 1),
    rowNumbers: Int32Array.from(examples, ({ row }) => row),
    labels: labelArray(examples, problem),
  };
  let row = 0;
  let offset = 0;
  for (const { tokenIds, segmentIds, lengths } of encoded) {
    split.tokenIds.set(tokenIds, offset);
    split.segmentIds.set(segmentIds, offset);
    for (const length of lengths) {
      offset += length;
      split.rowOffsets[++row] = offset;
    }
  }
  return split;
}

function labelArray(examples: readonly Example[], problem: Problem): Int32Array | Float32Array | null {
  const labels: number[] = [];
  for (const { label } of examples) {
    if (label === null) return null;
    labels.push(label);
  }
  return problem === "classification" ? Int32Array.from(labels) : Float32Array.from(labels);
}
