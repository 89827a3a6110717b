import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { ResolvedConfig } from "../config/schema.js";
import { loadTask, splitSeed } from "../data/load-task.js";
import { resolveModel } from "../models/resolve.js";
import { weightFileNames } from "../models/weights.js";
import { tokenizerFileNames } from "../tokenizer/tokenizer-files.js";
import { configHash, withoutPlaces } from "./identity.js";
import { transferRun } from "./transfer-run.js";
import { numerics } from "./versions.js";

/** What a run is made of, beside its config. */
export interface Fingerprint {
  /** Hash of the bytes of all data files. */
  data: string;
  /** Hash of the bytes of the model's config, tokenizer and, unless they are not used, weights. */
  weights: string;
  /** Id of the run of the intermediate task, where there is one. */
  transfer?: string;
}

const hashLength = 16;

/** The files, beside the weights, that decide what a model is. */
const describing: ReadonlySet<string> = new Set(["config.json", ...tokenizerFileNames]);

/** Hashes data and weights, each file once for all runs that share it. */
export class Fingerprints {
  readonly #data = new Map<string, Promise<string>>();
  readonly #weights = new Map<string, Promise<string>>();

  /** Reads the data on the way, so that a study with wrong columns fails before its first trial. */
  async of(config: ResolvedConfig): Promise<Fingerprint> {
    const { task, data, validation, test, text, pair, label, trainRows, protocol, evaluateOn, skipBadRows } = config;
    const rows = [task, data, validation, test, text, pair, label, trainRows, protocol, evaluateOn, skipBadRows];
    const { model, revision, init } = config;
    const transfer = transferRun(config);
    return {
      data: await once(this.#data, JSON.stringify(rows), async () => {
        const { files } = await loadTask({ ...config, seed: splitSeed });
        return hashFiles(files);
      }),
      weights: await once(this.#weights, JSON.stringify([model, revision, init]), async () => {
        const { folder } = await resolveModel(model, { ...(revision !== undefined && { revision }) });
        return hashFiles(await modelFiles(folder, init));
      }),
      ...(transfer && { transfer: runId(transfer, await this.of(transfer)) }),
    };
  }
}

/** Size of the files that a run's model is read from. */
export async function modelBytes({ model, revision }: ResolvedConfig): Promise<number> {
  const { folder } = await resolveModel(model, { ...(revision !== undefined && { revision }) });
  const sizes = (await modelFiles(folder, "checkpoint")).map(async (path) => (await stat(path)).size);
  return (await Promise.all(sizes)).reduce((total, size) => total + size, 0);
}

/**
 * A run's id: a hash of everything that decides its outcome, also the version of the numerics. Where files lie is not
 * part of it, what they hold is.
 */
export function runId(config: ResolvedConfig, fingerprint: Fingerprint): string {
  return configHash({ ...withoutPlaces(config), fingerprint: { ...fingerprint, numerics } }).slice(0, hashLength);
}

async function once(known: Map<string, Promise<string>>, key: string, make: () => Promise<string>): Promise<string> {
  const value = known.get(key) ?? make();
  known.set(key, value);
  return value;
}

async function modelFiles(folder: string, init: ResolvedConfig["init"]): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  const described = names.filter((name) => describing.has(name));
  // Of the files that there are the first of these is read, and the parts that it names.
  const main = weightFileNames.find((name) => names.includes(name));
  const extension = main?.includes(".safetensors") ? ".safetensors" : ".bin";
  const weights = main?.endsWith(".index.json") ? names.filter((name) => name.endsWith(extension)) : [];
  const read = main === undefined || init === "random" ? [] : [main, ...weights];
  return [...described, ...read].map((name) => join(folder, name));
}

async function hashFiles(paths: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) await addFile(hash, path);
  return hash.digest("hex").slice(0, hashLength);
}

async function addFile(hash: Hash, path: string): Promise<void> {
  const own = createHash("sha256");
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) own.update(piece as Buffer);
  hash.update(`${basename(path)} ${own.digest("hex")};`);
}
