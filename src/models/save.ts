import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { CheckpointError, OutputError, SteadytuneError } from "../errors.js";
import { replaceFolder, writeFileAtomic } from "../files/atomic.js";
import type { ComputeDtype, ParameterInfo, Problem } from "../native/types.js";
import type { ModelConfig } from "./config.js";
import { toCheckpointName } from "./key-map.js";
import { writeSafetensors, type TensorSource } from "./safetensors.js";

export interface SaveOptions {
  /** The model that training began with; its file is kept but for what belongs to the task. */
  config: ModelConfig;
  /** Class names in index order; empty for regression. */
  labels: readonly string[];
  problem: Problem;
  parameters: readonly ParameterInfo[];
  /** The values of a parameter by our name, such as a session's `readParameter`. Asked for one at a time. */
  read: (name: string) => Promise<Float32Array>;
  /** How the weights are stored. */
  dtype: ComputeDtype;
  /** Paths of the tokenizer's files, copied as they are. */
  tokenizerFiles: readonly string[];
  /** Further entries for the header of model.safetensors. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes a folder that transformers' AutoModelForSequenceClassification and AutoTokenizer load as it is, atomically: an
 * older model of that name is replaced only when the new one is complete.
 *
 * @throws OutputError when it cannot be written, or when `folder` holds files that are no part of a model.
 */
export async function saveModel(folder: string, options: SaveOptions): Promise<void> {
  await refuseForeignFolder(folder);
  const tokenizer = await Promise.all(options.tokenizerFiles.map(readTokenizerFile));
  await replaceFolder(folder, async (temporary) => {
    await writeFileAtomic(join(temporary, "config.json"), configText(options));
    for (const { name, content } of tokenizer) await writeFileAtomic(join(temporary, name), content);
    const metadata = { format: "pt", ...options.metadata };
    await writeSafetensors(join(temporary, "model.safetensors"), savedTensors(options), metadata);
  });
}

/** Whole numbers that the original spells as fractions keep that spelling, which JSON.stringify would not give them. */
function configText(options: SaveOptions): string {
  const { fractions } = options.config;
  const text = JSON.stringify(savedConfig(options), null, 2).replaceAll(
    /^ {2}"([^"]+)": (-?\d+)(?=,?$)/gm,
    (line, key: string, value: string) => line.replace(new RegExp(`${value}$`), fractions.get(key) ?? value),
  );
  return `${text}\n`;
}

function savedConfig({ config, labels, problem, dtype }: SaveOptions): Record<string, unknown> {
  const { type, raw } = config;
  const names = problem === "regression" ? ["LABEL_0"] : [...labels];
  // Where the weights came from, how they were stored and who wrote the file is no longer true.
  const stale = new Set(["_name_or_path", "dtype", "transformers_version"]);
  return {
    ...Object.fromEntries(Object.entries(raw).filter(([key]) => !stale.has(key))),
    architectures: [type.architecture],
    id2label: Object.fromEntries(names.map((name, index) => [index, name])),
    label2id: Object.fromEntries(names.map((name, index) => [name, index])),
    num_labels: names.length,
    problem_type: problem === "regression" ? "regression" : "single_label_classification",
    // The key of transformers 4, which 5 reads as well.
    torch_dtype: dtype,
  };
}

function savedTensors({ config, parameters, read, dtype }: SaveOptions): Map<string, TensorSource> {
  const tensors = new Map<string, TensorSource>();
  for (const { name, shape } of parameters) {
    tensors.set(toCheckpointName(config.shape.family, name), {
      dtype: dtype === "bfloat16" ? "BF16" : "F32",
      shape,
      data: async () => {
        const values = await read(name);
        const stored = dtype === "bfloat16" ? toBfloat16(values) : values;
        return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
      },
    });
  }
  return tensors;
}

/** The upper 16 bits of each number, rounded to nearest with ties to even; NaN stays NaN. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = new Uint16Array(values.length);
  for (let index = 0; index < bits.length; index++) {
    const word = bits[index] as number;
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    rounded[index] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return rounded;
}

async function readTokenizerFile(path: string): Promise<{ name: string; content: Uint8Array }> {
  const name = basename(path);
  if (name === "config.json" || !isModelFile(name)) {
    throw new SteadytuneError("ERR_INTERNAL", `${path} is not a file of a tokenizer.`);
  }
  try {
    return { name, content: await readFile(path) };
  } catch (error) {
    throw new CheckpointError(`The tokenizer's file ${path} cannot be read: ${(error as Error).message}.`, {
      hint: "It was there when the model was loaded: leave the model's folder in place until the new one is saved.",
      cause: error,
    });
  }
}

/** Replacing a folder deletes all that is in it: only what can be an older model may be. */
async function refuseForeignFolder(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new OutputError(`${folder} cannot be replaced by a model: ${error.message}.`, { cause: error });
  });
  const foreign = entries.find((entry) => !entry.isFile() || !isModelFile(entry.name));
  if (!foreign) return;
  throw new OutputError(`${folder} holds ${foreign.name}, which is no part of a model, so it is not replaced by one.`, {
    hint: "Choose a new folder.",
  });
}

function isModelFile(name: string): boolean {
  const description = /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json$/;
  return description.test(name) || /^(vocab|merges)\.(txt|json)$|\.(safetensors|bin|model)$/.test(name);
}
