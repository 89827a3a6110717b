/**
 * A tokenizer thread of `encodeExamples`: loads the tokenizer of `workerData.folder`, then answers each chunk of rows
 * with its tokens. It has no exports and is only ever started as a worker.
 */
import { parentPort, workerData } from "node:worker_threads";
import { loadTokenizer } from "../tokenizer/tokenizer.js";
import { encodeRows } from "./encode-rows.js";
import type { TextRow } from "./encode-rows.js";

export interface EncodeWorkerData {
  folder: string;
  maxLength: number;
}

export interface ChunkRequest {
  chunk: number;
  rows: TextRow[];
}

const { folder, maxLength } = workerData as EncodeWorkerData;
const tokenizer = await loadTokenizer(folder);

parentPort?.on("message", ({ chunk, rows }: ChunkRequest) => {
  const encoded = encodeRows(tokenizer, rows, maxLength);
  parentPort?.postMessage({ chunk, encoded }, [
    encoded.tokenIds.buffer,
    encoded.segmentIds.buffer,
    encoded.lengths.buffer,
  ]);
});
