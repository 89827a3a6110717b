import { readFile } from "node:fs/promises";
import { CheckpointError, DataError } from "../errors.js";
import { readSafetensors } from "../models/safetensors.js";
import type { PackedBatch, Problem } from "../native/types.js";

/** A reference tensor; integers are read as numbers. */
export interface ReferenceTensor {
  shape: readonly number[];
  values: Float32Array;
}

/** The tensors of one file of the bundle. */
export class ReferenceFile {
  readonly #path: string;
  readonly #tensors: ReadonlyMap<string, ReferenceTensor>;

  private constructor(path: string, tensors: ReadonlyMap<string, ReferenceTensor>) {
    this.#path = path;
    this.#tensors = tensors;
  }

  /** @throws CheckpointError when the file is damaged or holds other types than F32 and I64. */
  static async open(path: string): Promise<ReferenceFile> {
    const { tensors } = await readSafetensors(path);
    const read = new Map<string, ReferenceTensor>();
    for (const [name, { dtype, shape, data }] of tensors) {
      // A copy, since a tensor's bytes need not begin on a multiple of their size.
      const { buffer } = Uint8Array.from(data);
      if (dtype === "F32") read.set(name, { shape, values: new Float32Array(buffer) });
      else if (dtype === "I64") read.set(name, { shape, values: Float32Array.from(new BigInt64Array(buffer), Number) });
      else throw new CheckpointError(`${path}: the reference tensor ${name} is ${dtype}, where F32 or I64 is due`);
    }
    return new ReferenceFile(path, read);
  }

  get names(): string[] {
    return [...this.#tensors.keys()];
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  get(name: string): ReferenceTensor {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw new DataError(`${this.#path} has no tensor ${name}`);
    return tensor;
  }
}

/** Rows of a padded batch: where the tokens that count lie. */
export interface PaddedBatch {
  width: number;
  packed: PackedBatch;
  /** [T] place of each packed token in the padded [rows, width]. */
  places: number[];
}

/** Drops the padding that `attention_mask` marks. `rows` chooses and orders rows; all of them when left out. */
export function packReference(file: ReferenceFile, problem: Problem, rows?: readonly number[]): PaddedBatch {
  const { shape, values: ids } = file.get("input_ids");
  const [height = 0, width = 0] = shape;
  const mask = file.get("attention_mask").values;
  // Families without segments have none.
  const segments = file.has("token_type_ids") ? file.get("token_type_ids").values : new Float32Array(ids.length);
  const chosen = rows ?? Array.from({ length: height }, (_, row) => row);
  const rowPlaces = chosen.map((row) =>
    Array.from({ length: width }, (_, column) => row * width + column).filter((place) => mask[place] === 1),
  );
  const places = rowPlaces.flat();
  const rowOffsets = new Int32Array(chosen.length + 1);
  rowPlaces.forEach(({ length }, row) => (rowOffsets[row + 1] = rowOffsets[row]! + length));
  return {
    width,
    places,
    packed: {
      tokenIds: Int32Array.from(places, (place) => ids[place]!),
      segmentIds: Int32Array.from(places, (place) => segments[place]!),
      rowOffsets,
      rowNumbers: Int32Array.from(chosen),
      labels: labelsOf(file, problem, chosen),
    },
  };
}

function labelsOf(file: ReferenceFile, problem: Problem, rows: readonly number[]): Int32Array | Float32Array | null {
  if (!file.has("labels")) return null;
  const { values } = file.get("labels");
  const labels = rows.map((row) => values[row]!);
  return problem === "regression" ? Float32Array.from(labels) : Int32Array.from(labels);
}

export async function readReferenceJson<T>(path: string): Promise<T> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch (error) {
    throw new DataError(`${path} is not readable JSON`, { cause: error });
  }
}
