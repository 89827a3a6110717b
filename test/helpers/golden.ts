import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toCheckpointName } from "#src/models/key-map.js";
import { readModelConfig } from "#src/models/config.js";
import { readSafetensors } from "#src/models/safetensors.js";
import { readWeights } from "#src/models/weights.js";
import { createSession, type Session } from "#src/native/session.js";
import type { ComputeDtype, EncoderShape, Engine, PackedBatch } from "#src/native/types.js";

/** Reference values that this project did not make; test/fixtures/golden/README.md tells how they came about. */
export const goldenFolder = fileURLToPath(new URL("../../test/fixtures/golden", import.meta.url));

/** A tiny checkpoint of every family, with what transformers computes for it. */
export const goldenModels = [
  "bert-classification",
  "bert-regression",
  "roberta-classification",
  "electra-classification",
  "distilbert-classification",
  "xlnet-classification",
  "bart-classification",
] as const;

export interface Expected {
  shape: number[];
  values: Float32Array;
}

/** Every tensor of a file as float32 (integers included). */
export async function readExpected(path: string): Promise<Map<string, Expected>> {
  const { tensors } = await readSafetensors(path);
  const expected = new Map<string, Expected>();
  for (const [name, { dtype, shape, data }] of tensors) {
    // A copy, since a tensor's bytes need not begin on a multiple of their size.
    const { buffer } = data.slice();
    const values = dtype === "I64" ? Float32Array.from(new BigInt64Array(buffer), Number) : new Float32Array(buffer);
    expected.set(name, { shape, values });
  }
  return expected;
}

export function goldenJson(path: string): unknown {
  return JSON.parse(readFileSync(join(goldenFolder, path), "utf8"));
}

export function get<T>(map: Map<string, T>, name: string): T {
  const value = map.get(name);
  if (value === undefined) throw new Error(`the reference file has no '${name}'`);
  return value;
}

/** Drops the padding of a reference batch. */
export function packExpected(expected: Map<string, Expected>, shape: EncoderShape): PackedBatch {
  const ids = get(expected, "input_ids");
  const mask = get(expected, "attention_mask").values;
  const segments = expected.get("token_type_ids")?.values ?? new Float32Array(mask.length);
  const [rows = 0, width = 0] = ids.shape;
  const kept = [...mask.keys()].filter((i) => mask[i] === 1);
  const offsets = new Int32Array(rows + 1);
  for (const i of kept) offsets[Math.floor(i / width) + 1]! += 1;
  for (let row = 0; row < rows; row++) offsets[row + 1]! += offsets[row]!;
  const labels = get(expected, "labels").values;
  return {
    tokenIds: Int32Array.from(kept, (i) => ids.values[i]!),
    segmentIds: Int32Array.from(kept, (i) => segments[i]!),
    rowOffsets: offsets,
    rowNumbers: Int32Array.from({ length: rows }, (_, row) => row),
    labels: shape.problem === "regression" ? labels : Int32Array.from(labels),
  };
}

export interface GoldenModel extends AsyncDisposable {
  session: Session;
  shape: EncoderShape;
  batch: PackedBatch;
  expected: Map<string, Expected>;
}

/** A tiny reference checkpoint in a session, with its batch and what transformers computed for it. */
export async function openGolden(
  name: string,
  dtype: ComputeDtype = "float32",
  threads = 1,
  engine: Engine = "fused",
  device: "cpu" | "cuda" = "cpu",
): Promise<GoldenModel> {
  const folder = join(goldenFolder, name);
  const config = await readModelConfig(folder);
  const session = createSession(config.shape, { device, dtype, threads, engine });
  const { tensors } = await readWeights(folder, config, [...session.parameters]);
  await session.load(tensors);
  const expected = await readExpected(join(folder, "expected.safetensors"));
  return {
    session,
    shape: config.shape,
    batch: packExpected(expected, config.shape),
    expected,
    [Symbol.asyncDispose]: () => session.dispose(),
  };
}

/** What transformers computed for the gradient of a parameter; null for what a family keeps but does not use. */
export function expectedGradient({ shape, expected }: GoldenModel, name: string): Float32Array | null {
  return expected.get(`grad.${toCheckpointName(shape.family, name)}`)?.values ?? null;
}

/** Norm of the difference over the norm of the reference; the plain norm of the difference where the reference is zero. */
export function relativeError(actual: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (actual.length !== reference.length) throw new Error(`${actual.length} values against ${reference.length}`);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < reference.length; i++) {
    difference += (actual[i]! - reference[i]!) ** 2;
    norm += reference[i]! ** 2;
  }
  // Key biases have a true gradient of zero; golden/README.md asks for an absolute 1e-7 there.
  return Math.sqrt(norm) < 1e-7 ? Math.sqrt(difference) * (2e-5 / 1e-7) : Math.sqrt(difference / norm);
}
