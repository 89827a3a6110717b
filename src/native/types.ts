/**
 * The whole boundary between TypeScript and the C++ addon. TypeScript decides (methods, schedule, batches, when to
 * evaluate); C++ executes. No tensor class crosses: only numbers, typed arrays and plain records.
 *
 * Every method that does work is queued on the session's own native thread and returns a promise; calls run in the
 * order in which they were made, so that a step can be submitted before the one ahead of it has finished. On a GPU a
 * call is done when its work is queued there, and its promise settles when that work has run. Batches are copied before the call returns; the large arrays of `load` and `writeBuffer` are read in place and must not change
 * until the promise settles.
 */

export type Family = "bert" | "roberta" | "electra" | "distilbert" | "xlnet" | "bart";
export type ComputeDtype = "float32" | "bfloat16";
export type Activation = "gelu" | "gelu_tanh" | "relu";
export type Problem = "classification" | "regression";

/** The shape of an encoder with its head; everything that decides how many parameters there are and what they do. */
export interface EncoderShape {
  family: Family;
  vocabularySize: number;
  /** Width of the embedding tables; where it is not `hiddenSize`, a projection follows (ELECTRA). */
  embeddingSize: number;
  hiddenSize: number;
  /** Blocks of the encoder. */
  layers: number;
  heads: number;
  intermediateSize: number;
  /** BART's decoder; null in the other families. */
  decoder: DecoderShape | null;
  /** Tokens of the longest row. */
  maxPositions: number;
  /** Rows of the table of positions before that of the first token (RoBERTa and BART: 2). */
  positionOffset: number;
  /** Rows of the table of segments; 0 where there is none. */
  segmentTypes: number;
  /** Factor on the word embeddings, 1 but for BART with `scale_embedding`. */
  embeddingScale: number;
  layerNormEps: number;
  activation: Activation;
  /** Dropout on embeddings and on both outputs of a block, 0 <= p < 1. */
  hiddenDropout: number;
  /** Dropout on attention probabilities, 0 <= p < 1. */
  attentionDropout: number;
  /** Dropout behind the activation of a block's feed-forward network, 0 <= p < 1 (XLNet, BART). */
  activationDropout: number;
  /** Dropout before the classifier, 0 <= p < 1. */
  classifierDropout: number;
  /** Outputs of the classifier: number of labels, or 1 for regression. */
  outputs: number;
  /** Cross-entropy or mean squared error. */
  problem: Problem;
}

export interface DecoderShape {
  layers: number;
  heads: number;
  intermediateSize: number;
  /** The id that stands before a row's tokens in the decoder's input. */
  startId: number;
}

export type ParameterRole = "embedding" | "attention" | "ffn" | "layerNorm" | "pooler" | "classifier";

/** One named parameter. Names are the same in every family, such as "blocks.3.attention.query.weight". */
export interface ParameterInfo {
  name: string;
  shape: number[];
  role: ParameterRole;
  kind: "weight" | "bias";
  /** Counted from the embeddings, from 0; a decoder's blocks follow the encoder's. Null outside the blocks. */
  block: number | null;
}

export type Reset = "none" | "ones" | "zeros" | { normal: number; stream: "classifierInit" | "reinit" };

/**
 * Mixout of one weight: in each forward pass of training the value at the start stands in for a random share of it.
 * Every part of an accumulated step draws masks of its own.
 */
export interface Mixout {
  /** The share, 0 <= p < 1; drawn in steps of 1 / 65536. */
  p: number;
  /** One draw per element, or one per input feature for all outputs. */
  mask: "element" | "column";
  /** "released": without the factor 1 / (1 - p), as in the paper's released code. */
  gradient: "exact" | "released";
}

/** What a training run does with one parameter (DESIGN: a method is a function from parameters to these). */
export interface ParameterPlan {
  /** Takes no part in the update or in the gradient norm. */
  frozen: boolean;
  /** Multiplies the scheduled learning rate. */
  lrScale: number;
  /** Decoupled decay coefficient, lambda >= 0. */
  weightDecay: number;
  /** Where decay pulls: towards zero, or towards the value at the start of fine-tuning. */
  decayTowards: "zero" | "start";
  /** p -= lr * lambda * d when true; p -= lambda * d when false (the paper's formula has no lr). */
  decayScaledByLr: boolean;
  /** Applied once, when the plan is set. */
  reset: Reset;
  /** Only for the matrices of linear layers; off in evaluation and in `gradients`. */
  mixout: Mixout | null;
}

/** Rows without padding, back to back. B rows, T tokens in all. */
export interface PackedBatch {
  /** [T] */
  tokenIds: Int32Array;
  /** [T] token types, all below `segmentTypes`; XLNet compares them, families without segments ignore them. */
  segmentIds: Int32Array;
  /** [B + 1], from 0 to T, rising by at least 1. */
  rowOffsets: Int32Array;
  /** [B] row numbers in the data set: dropout depends on these, not on the place in the batch. */
  rowNumbers: Int32Array;
  /** [B] class indices (classification) or targets (regression); null where only outputs are wanted. */
  labels: Int32Array | Float32Array | null;
}

export interface StepOptions {
  /** The step's number, from 1: the time t of AdamW and the counter of every random stream. */
  step: number;
  /** Scheduled learning rate of this step before `lrScale`. */
  learningRate: number;
  betas: [number, number];
  eps: number;
  biasCorrection: boolean;
  /** Global norm to clip to; 0 turns clipping off. */
  maxGradNorm: number;
  /** Keys the streams of dropout and mixout, 0 .. 2^32 - 1. */
  orderSeed: number;
  /** Dropout as the shape says, or none. */
  dropout: boolean;
}

export interface StepResult {
  /** Mean loss over all rows of the step. */
  loss: number;
  /** Global gradient norm before clipping, over parameters that are not frozen. */
  gradNorm: number;
  /** False when loss or norm was not finite: then the update was skipped and nothing changed. */
  finite: boolean;
}

export interface ForwardResult {
  /** [B, outputs] row by row. */
  logits: Float32Array;
  /** Mean loss when the batch had labels, else null. */
  loss: number | null;
  /** [states, T, hiddenSize]: after the embeddings and after each block, a decoder's last; only when asked for. */
  hiddenStates: Float32Array | null;
  /** [B, hiddenSize] the output of the pooler, or of the head's dense layer; only when asked for. */
  pooled: Float32Array | null;
}

/** `fused`: everything between matrix products is one operator; `reference`: plain operators and autograd. */
export type Engine = "fused" | "reference";

export interface SessionOptions {
  device: "cpu" | "cuda";
  dtype: ComputeDtype;
  engine: Engine;
  /**
   * Threads of the native side; fixed for the session's life. 0: as many as physical cores. Sessions that together want
   * more threads than there are cores take turns.
   */
  threads: number;
}

/** All calls of one operator with one set of shapes, calls inside another operator left out. */
export interface OperatorTime {
  /** As the dispatcher knows it: "aten::mm", "steadytune::packed_attention". */
  name: string;
  /** Of the tensors among its arguments. */
  shapes: number[][];
  /** Of the first of them. */
  dtype: string;
  calls: number;
  seconds: number;
  /** Of matrix products and attention; 0 where there is none or none is known. */
  flop: number;
  /** The least that must be moved: arguments read and results written once, of tables and buffers what is touched. */
  bytes: number;
}

export interface Profile {
  operators: OperatorTime[];
  /** Of the calls that were watched, everything included. */
  seconds: number;
}

/** One of a linear layer's three matrix products, [m, k] by [k, n]: y = x W^T, dx = dy W or dW = dy^T x. */
export interface ProductTiming {
  product: "forward" | "gradInput" | "gradWeight";
  m: number;
  k: number;
  n: number;
  dtype: ComputeDtype;
  repeats: number;
}

/** Whole flat buffers of the arena, in parameter order: what a state file holds. */
export type ArenaBuffer = "parameters" | "moment1" | "moment2" | "start";

export interface NativeTensor {
  dtype: "float32" | "float16" | "bfloat16";
  /** Little-endian bytes, C order. */
  data: Uint8Array;
}

export interface NativeSession {
  /** In arena order; computed when the session is made. */
  readonly parameters: ParameterInfo[];
  /** The number of threads in use. */
  readonly threads: number;
  /** Copies values into named parameters, casting to float32. */
  load(tensors: Record<string, NativeTensor>): Promise<void>;
  /**
   * Sets the plan, one entry per parameter in arena order: applies the resets from `initSeed`, clears both moments,
   * and keeps the values as "start" when any entry decays towards it or mixes with it, or `keepStart` is true.
   */
  setPlan(plan: ParameterPlan[], options: { initSeed: number; keepStart: boolean }): Promise<void>;
  /** One optimizer step over the rows of all parts (gradient accumulation: the mean is over all rows). */
  train(parts: PackedBatch[], options: StepOptions): Promise<StepResult>;
  /** Forward without dropout. */
  forward(batch: PackedBatch, options: { hiddenStates: boolean }): Promise<ForwardResult>;
  /** Gradients of the mean loss without dropout, left in the arena for `readGradient`; the parameters do not move. */
  gradients(batch: PackedBatch): Promise<StepResult>;
  /** Copies of single parameters or of their last gradients. */
  readParameter(name: string): Promise<Float32Array>;
  readGradient(name: string): Promise<Float32Array>;
  /** Values in an arena buffer; 0 for one that is not kept ("start", or the moments before a plan is set). */
  bufferLength(buffer: ArenaBuffer): Promise<number>;
  /** A copy of an arena buffer, or of a range of its values. */
  readBuffer(buffer: ArenaBuffer, range?: { begin: number; end: number }): Promise<Float32Array>;
  /** From value `begin` on, or without it all of the buffer. Rejects with ERR_STATE what does not fit. */
  writeBuffer(buffer: ArenaBuffer, values: Float32Array, range?: { begin: number }): Promise<void>;
  /** Keeps a copy of all parameters under `slot` (the best checkpoint; the base image of a study), or puts it back. */
  snapshot(slot: string): Promise<void>;
  restore(slot: string): Promise<void>;
  dropSnapshot(slot: string): Promise<void>;
  readSnapshot(slot: string, name: string): Promise<Float32Array>;
  /** L2 distance to the start by block: "embeddings", "blocks.0", ..., "pooler", "classifier". Needs "start". */
  distances(): Promise<Record<string, number>>;
  /** Begins to watch the operators of later calls, or stops; nothing is paid while it is off. Refused on a GPU. */
  profile(on: boolean): Promise<void>;
  /** What was seen since it began or since the last `takeProfile`. */
  takeProfile(): Promise<Profile>;
  /** Seconds of each of `repeats` bare products on the session's threads. */
  timeProduct(timing: ProductTiming): Promise<number[]>;
  /** Seconds of each of `repeats` copies that read `bytes` / 2 and write as many. */
  timeCopy(timing: { bytes: number; repeats: number }): Promise<number[]>;
  /** Highest resident memory of this process so far, in bytes. */
  peakMemoryBytes(): number;
  /** Most GPU memory that this process has taken so far, in bytes; 0 on the CPU. */
  peakDeviceMemoryBytes(): number;
  /** Shapes of batches whose training step is a CUDA graph that is replayed; 0 on the CPU. */
  recordedSteps(): number;
  /** Calls that have not begun reject with ERR_ABORTED; the one at work is finished first. */
  abort(): void;
  /** Stops the thread and frees all memory; resolves when that is done. Every later call rejects with ERR_DISPOSED. */
  dispose(): Promise<void>;
}

export interface GpuInfo {
  /** Such as "NVIDIA H100 80GB HBM3". */
  name: string;
  /** Compute capability, such as "9.0". */
  capability: string;
  multiprocessors: number;
  memoryBytes: number;
}

export interface NativeInfo {
  /** Version of steadytune's addon, equal to package.json's. */
  version: string;
  /** libtorch that the addon was compiled against, such as "2.15.0". */
  builtForTorch: string;
  /** Instruction set that the CPU kernels run with. */
  instructionSet: "default" | "avx2" | "avx512" | "avx512_bf16";
  /** What CUDA shows to this process; the first one is used. Empty where the CUDA kernels are not open. */
  gpus: GpuInfo[];
  /** libtorch's own description of its build. */
  torchConfig: string;
}

/** What the `.node` file exports. */
export interface NativeAddon {
  info(): NativeInfo;
  /**
   * Opens libtorch's CUDA half and the project's kernels. Before anything else is called: libtorch remembers that it
   * has no CUDA. Throws ERR_CUDA_KERNELS.
   */
  openCuda(files: { libtorch: string; kernels: string }): void;
  createSession(shape: EncoderShape, options: SessionOptions): NativeSession;
  /** The fused AdamW alone on one flat buffer, for `verify`: returns the values after each step. */
  adamw(
    values: Float32Array,
    gradients: Float32Array[],
    options: {
      learningRate: number;
      betas: [number, number];
      eps: number;
      biasCorrection: boolean;
      weightDecay: number;
    },
  ): Promise<Float32Array[]>;
  /**
   * One linear layer alone, y = x W'^T + b with W' mixed under a given mask, for `verify`. The mask is 1 where the
   * target stands in, [outputs, inputs] or per column [inputs]; p is not rounded.
   */
  mixout(
    layer: {
      inputs: number;
      outputs: number;
      /** [tokens, inputs] */
      x: Float32Array;
      /** [outputs, inputs] */
      weight: Float32Array;
      target: Float32Array;
      /** [outputs] */
      bias: Float32Array;
      mask: Float32Array;
      /** [tokens, outputs] */
      gradOutput: Float32Array;
    },
    mixout: Mixout,
  ): Promise<{ output: Float32Array; gradX: Float32Array; gradWeight: Float32Array; gradBias: Float32Array }>;
}
