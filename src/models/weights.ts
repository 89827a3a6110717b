import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { CheckpointError } from "../errors.js";
import type { EncoderShape, NativeTensor, ParameterInfo } from "../native/types.js";
import type { ModelConfig } from "./config.js";
import { fromCheckpointName, toCheckpointName, type CheckpointName } from "./key-map.js";
import { openPickle } from "./pickle.js";
import { openSafetensors } from "./safetensors.js";
import { openSharded } from "./sharded.js";
import type { TensorDtype, TensorEntry, TensorFile } from "./tensor-file.js";

/** What was found besides the weights themselves. */
export interface WeightsReport {
  /** Our names of the parameters that the checkpoint lacks: pooler or classifier, to be drawn anew. */
  initialised: string[];
  /** The checkpoint's names of tensors that fine-tuning has no use for. */
  ignored: string[];
  /** What a person should be told, a sentence each. */
  notes: string[];
}

/** In the order in which transformers looks for them. */
const weightFiles: readonly (readonly [name: string, open: (path: string) => Promise<TensorFile>])[] = [
  ["model.safetensors", openSafetensors],
  ["model.safetensors.index.json", (path) => openSharded(path, openSafetensors)],
  ["pytorch_model.bin", openPickle],
  ["pytorch_model.bin.index.json", (path) => openSharded(path, openPickle)],
];

export const weightFileNames: readonly string[] = weightFiles.map(([name]) => name);

const nativeDtypes: Partial<Record<TensorDtype, NativeTensor["dtype"]>> = {
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
};

/** Roles whose parameters a checkpoint of a pre-trained encoder may lack. */
const replaceable = new Set(["pooler", "classifier"]);

/**
 * All weights of a checkpoint at once, by our names. `loadWeights` does the same without holding them all.
 *
 * @throws CheckpointError as `loadWeights`.
 */
export async function readWeights(
  folder: string,
  config: ModelConfig,
  parameters: readonly ParameterInfo[],
): Promise<WeightsReport & { tensors: Record<string, NativeTensor> }> {
  const tensors: Record<string, NativeTensor> = {};
  const report = await loadWeights(folder, config, parameters, async (piece) => {
    Object.assign(tensors, piece);
  });
  return { tensors, ...report };
}

/**
 * Hands the weights of a checkpoint to `load` (a session's), one tensor at a time, so that no second copy of the model
 * is ever in memory. Names, shapes and element types are all checked before the first value is read.
 *
 * @throws CheckpointError naming the tensor that is missing, unknown, of the wrong shape or type, or not finite.
 */
export async function loadWeights(
  folder: string,
  config: ModelConfig,
  parameters: readonly ParameterInfo[],
  load: (tensors: Record<string, NativeTensor>) => Promise<void>,
): Promise<WeightsReport> {
  await using file = await openWeights(folder);
  const { sources, ...report } = matchTensors(file, config, parameters);
  for (const [name, source] of sources) {
    const dtype = nativeDtypes[(file.tensors.get(source) as TensorEntry).dtype] as NativeTensor["dtype"];
    const data = await file.read(source);
    refuseNonFinite(file.path, source, dtype, data);
    await load({ [name]: { dtype, data } });
  }
  return report;
}

/** Opens the folder's weights, of whatever kind. @throws CheckpointError when it has none that can be read. */
export async function openWeights(folder: string): Promise<TensorFile> {
  for (const [name, open] of weightFiles) {
    const path = join(folder, name);
    if (await stat(path).catch(() => null)) return open(path);
  }
  const others = ["tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "bert_model.ckpt.index"];
  for (const name of others) {
    if (!(await stat(join(folder, name)).catch(() => null))) continue;
    throw new CheckpointError(
      `The weights in ${folder} are TensorFlow's or Flax's (${name}), which are not supported.`,
      {
        hint: "Convert them with transformers: from_pretrained(..., from_tf=True or from_flax=True), then save_pretrained.",
      },
    );
  }
  throw new CheckpointError(`There are no weights in ${folder}.`, {
    hint: `Looked for ${weightFileNames.join(", ")}.`,
  });
}

/** Decides for each parameter which tensor it is read from. */
function matchTensors(
  file: TensorFile,
  config: ModelConfig,
  parameters: readonly ParameterInfo[],
): WeightsReport & { sources: Map<string, string> } {
  const { family } = config.shape;
  const wanted = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const sources = new Map<string, string>();
  const copies = new Map<string, string>();
  const ignored: string[] = [];
  for (const theirs of file.tensors.keys()) {
    const name = fromCheckpointName(family, theirs);
    if (name.kind === "ignored") {
      ignored.push(theirs);
      continue;
    }
    if (name.kind === "tied") {
      copies.set(name.ours, theirs);
      continue;
    }
    if (name.kind === "unknown" || !wanted.has(name.ours)) throw unknownTensor(file, theirs, name, config);
    const twin = sources.get(name.ours);
    if (twin !== undefined)
      throw new CheckpointError(`${file.path} holds ${twin} and ${theirs}, which are the same weight.`);
    sources.set(name.ours, theirs);
  }
  for (const [ours, theirs] of copies) if (!sources.has(ours)) sources.set(ours, theirs);
  const notes = dropForeignClassifier(file, sources, wanted);
  const initialised = findMissing(file, config, sources, parameters);
  for (const [ours, theirs] of sources) checkTensor(file, theirs, wanted.get(ours) as ParameterInfo, config);
  if (initialised.length > 0) {
    notes.push(`Drawn anew, since ${basename(file.path)} does not hold them: ${initialised.join(", ")}.`);
  }
  return { sources, initialised, ignored, notes };
}

/** A classifier with another number of outputs was trained for another task: all of it counts as missing. */
function dropForeignClassifier(
  file: TensorFile,
  sources: Map<string, string>,
  wanted: ReadonlyMap<string, ParameterInfo>,
): string[] {
  const classifier = [...sources].filter(([ours]) => wanted.get(ours)?.role === "classifier");
  // The dense layer that some families have in front is as wide as the model, whatever the task.
  const foreign = classifier.find(
    ([ours, theirs]) => file.tensors.get(theirs)?.shape[0] !== wanted.get(ours)?.shape[0] && !isDense(ours),
  );
  if (!foreign) return [];
  for (const [ours] of classifier) sources.delete(ours);
  const [ours, theirs] = foreign;
  const found = file.tensors.get(theirs)?.shape[0];
  return [`The checkpoint's classifier has ${found} outputs, this task ${wanted.get(ours)?.shape[0]}: it is not used.`];
}

const isDense = (name: string): boolean => name.startsWith("classifier.dense.");

function findMissing(
  file: TensorFile,
  config: ModelConfig,
  sources: ReadonlyMap<string, string>,
  parameters: readonly ParameterInfo[],
): string[] {
  const missing = parameters.filter(({ name }) => !sources.has(name));
  for (const { name, role } of missing) {
    const partly = parameters.some((other) => other.role === role && sources.has(other.name));
    if (replaceable.has(role) && !partly) continue;
    const theirs = toCheckpointName(config.shape.family, name);
    throw new CheckpointError(`${file.path} lacks the tensor ${theirs}${because(config, file, name)}.`, {
      hint: "The weights and config.json must belong together.",
    });
  }
  return missing.map(({ name }) => name);
}

/** Which blocks a name belongs to, such as "blocks.3." or "decoder.0.", and what config.json says of their number. */
function blockOf(ours: string, { type, shape }: ModelConfig): { prefix: string; said: string } | null {
  const prefix = /^(blocks|decoder)\.\d+\./.exec(ours)?.[0];
  if (prefix === undefined) return null;
  const [key, layers] = prefix.startsWith("blocks") ? [type.layersKey, shape.layers] : decoderLayers(shape);
  return { prefix, said: `config.json says ${key} ${layers}` };
}

const decoderLayers = ({ decoder }: EncoderShape): [string, number] => ["decoder_layers", decoder?.layers ?? 0];

/** A whole block that is missing tells of a wrong number of blocks. */
function because(config: ModelConfig, file: TensorFile, name: string): string {
  const block = blockOf(name, config);
  if (!block) return "";
  const present = [...file.tensors.keys()].some((theirs) => {
    const other = fromCheckpointName(config.shape.family, theirs);
    return other.kind === "parameter" && other.ours.startsWith(block.prefix);
  });
  return present ? "" : `: ${block.said}`;
}

function unknownTensor(file: TensorFile, theirs: string, name: CheckpointName, config: ModelConfig): CheckpointError {
  const block = name.kind === "parameter" ? blockOf(name.ours, config) : null;
  if (block) {
    return new CheckpointError(`${file.path} holds the tensor ${theirs}, but ${block.said}.`, {
      hint: "The weights and config.json must belong together.",
    });
  }
  return new CheckpointError(`${file.path} holds the tensor ${theirs}, which is no part of ${config.shape.family}.`, {
    hint: "Pre-trained encoders and models for sequence classification can be read, not those with other heads.",
  });
}

/** The keys of config.json that the numbers of rows of these parameters come from. */
const rowKeys: Record<string, string> = {
  "embeddings.word.weight": "vocab_size",
  "embeddings.position.weight": "max_position_embeddings",
  "embeddings.decoderPosition.weight": "max_position_embeddings",
  "embeddings.segment.weight": "type_vocab_size",
};

function checkTensor(file: TensorFile, theirs: string, parameter: ParameterInfo, config: ModelConfig): void {
  const { shape, dtype } = file.tensors.get(theirs) as TensorEntry;
  const wanted = parameter.shape;
  if (shape.length !== wanted.length || shape.some((size, axis) => size !== wanted[axis])) {
    const key = wanted[0] === shape[0] ? undefined : rowKeys[parameter.name];
    const asked = `the ${config.shape.family} of config.json needs [${wanted.join(", ")}]${key ? ` (${key})` : ""}`;
    throw new CheckpointError(`${file.path}: the tensor ${theirs} has the shape [${shape.join(", ")}], but ${asked}.`, {
      hint: "The weights and config.json must belong together.",
    });
  }
  if (nativeDtypes[dtype] === undefined) {
    throw new CheckpointError(`${file.path}: the tensor ${theirs} is stored as ${dtype}, which is not supported.`, {
      hint: `Supported: ${Object.keys(nativeDtypes).join(", ")}.`,
    });
  }
}

/** Infinities and NaN are the numbers whose exponent bits are all ones. */
function refuseNonFinite(path: string, name: string, dtype: NativeTensor["dtype"], data: Uint8Array): void {
  const mask = { float32: 0x7f800000, float16: 0x7c00, bfloat16: 0x7f80 }[dtype];
  const { buffer, byteOffset, byteLength } = data;
  const words =
    dtype === "float32"
      ? new Uint32Array(buffer, byteOffset, byteLength / 4)
      : new Uint16Array(buffer, byteOffset, byteLength / 2);
  // A loop, not findIndex with its call per element: this passes over every weight of the model.
  for (let index = 0; index < words.length; index++) {
    if (((words[index] as number) & mask) !== mask) continue;
    throw new CheckpointError(`${path}: the tensor ${name} holds NaN or infinity (element ${index}).`, {
      hint: "The run that made it diverged, or the file is damaged.",
    });
  }
}
