import type { FromSchema } from "json-schema-to-ts";

/**
 * Every setting of a run: one schema, from which come the check of what users write, the types, the flags of the
 * command line with their help, and docs/configuration.md. `group` orders keys in the help; `kind: "path"` marks
 * names of files. Defaults are the paper's (Zhang et al. 2021, Sec. 3).
 */

const seedRange = { type: "integer", minimum: 0, maximum: 4294967295 } as const;

const momentDecay = { type: "number", minimum: 0, exclusiveMaximum: 1 } as const;

const decayStrength = {
  type: "number",
  minimum: 0,
  description: "Strength of the decay (lambda).",
} as const;

const weightDecaySchema = {
  type: "object",
  description: "Decoupled decay towards zero; biases and LayerNorm are left out.",
  properties: { name: { const: "weight-decay" }, lambda: decayStrength },
  required: ["name", "lambda"],
  additionalProperties: false,
} as const;

const pretrainedWeightDecaySchema = {
  type: "object",
  description: "Decoupled decay towards the values at the start of fine-tuning.",
  properties: { name: { const: "pretrained-weight-decay" }, lambda: decayStrength },
  required: ["name", "lambda"],
  additionalProperties: false,
} as const;

const llrdSchema = {
  type: "object",
  description: "Layer-wise learning rate decay: each block learns at `decay` times the rate of the one above it.",
  properties: {
    name: { const: "llrd" },
    decay: { type: "number", exclusiveMinimum: 0, maximum: 1, description: "Factor from one block to the next below." },
    headDecay: {
      type: "boolean",
      description:
        "Whether weight decay acts on pooler and classifier too; true unless given, but false under the released " +
        "protocol, as in the paper's code.",
    },
  },
  required: ["name", "decay"],
  additionalProperties: false,
} as const;

const freezeSchema = {
  type: "object",
  description: "Parameters of these roles do not move.",
  properties: {
    name: { const: "freeze" },
    roles: {
      type: "array",
      items: { enum: ["embedding", "attention", "ffn", "layerNorm", "pooler", "classifier"] },
      minItems: 1,
      uniqueItems: true,
      description: "Which parameters.",
    },
  },
  required: ["name", "roles"],
  additionalProperties: false,
} as const;

const reinitSchema = {
  type: "object",
  description: "The pooler and the top blocks start from fresh random values instead of the pre-trained ones.",
  properties: {
    name: { const: "reinit" },
    layers: { type: "integer", minimum: 0, description: "How many of the top blocks; 0 is the pooler alone." },
  },
  required: ["name", "layers"],
  additionalProperties: false,
} as const;

const mixoutSchema = {
  type: "object",
  description:
    "In training, the values at the start of fine-tuning stand in for a random share of each linear layer's weights, " +
    "instead of dropout.",
  properties: {
    name: { const: "mixout" },
    p: { type: "number", minimum: 0, exclusiveMaximum: 1, description: "The share." },
    mask: {
      enum: ["element", "column"],
      description: "A draw per weight, or per input feature; `element` unless the protocol is `released`.",
    },
    gradient: {
      enum: ["exact", "released"],
      description: "`released` lacks the factor 1 / (1 - p); `exact` unless the protocol is `released`.",
    },
    keepDropout: { type: "boolean", description: "Dropout stays on; off when not given." },
  },
  required: ["name", "p"],
  additionalProperties: false,
} as const;

export const methodSchemas = [
  reinitSchema,
  llrdSchema,
  mixoutSchema,
  weightDecaySchema,
  pretrainedWeightDecaySchema,
  freezeSchema,
] as const;

/** A file that holds a method is told from the name of one that ships by a slash at its front, or by its ending. */
const methodFile = "^\\.{0,2}/|\\.[cm]?[jt]s$";

const methodSchema = {
  type: "object",
  required: ["name"],
  if: { type: "object", properties: { name: { type: "string", pattern: methodFile } } },
  then: { type: "object" },
  else: { type: "object", discriminator: { propertyName: "name" }, required: ["name"], oneOf: methodSchemas },
} as const;

const optimizerSchema = {
  type: "object",
  description: "AdamW, and the learning rate's course.",
  default: {},
  properties: {
    learningRate: { type: "number", minimum: 0, default: 2e-5, description: "Peak learning rate, after warm-up." },
    biasCorrection: {
      type: "boolean",
      default: true,
      description: "Adam's bias correction; false is the optimizer of the original BERT.",
    },
    betas: {
      type: "array",
      items: [momentDecay, momentDecay],
      additionalItems: false,
      minItems: 2,
      default: [0.9, 0.999],
      description: "Decay rates of the two moments.",
    },
    eps: { type: "number", exclusiveMinimum: 0, default: 1e-8, description: "Added to the root of the second moment." },
    maxGradNorm: {
      type: "number",
      minimum: 0,
      default: 1,
      description: "Gradients are clipped to this global norm; 0 turns clipping off.",
    },
    warmup: {
      type: "number",
      minimum: 0,
      maximum: 1,
      default: 0.1,
      description: "Share of the steps in which the rate rises linearly; it then falls linearly to 0.",
    },
  },
  additionalProperties: false,
} as const;

const runSchema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "steadytune run",
  type: "object",
  properties: {
    $schema: { type: "string", group: "file", description: "For editors; not used." },
    description: { type: "string", group: "file", description: "What a recipe is for; for its readers." },
    extends: {
      anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }],
      group: "file",
      description:
        "Recipes that this one starts from: names of recipes that ship with steadytune, or files relative to this one. " +
        "Objects are merged key by key, arrays are replaced.",
    },

    model: {
      type: "string",
      minLength: 1,
      group: "model",
      kind: "path",
      description: "Folder of a checkpoint, or a hub id (org/name or org/name@revision).",
    },
    revision: { type: "string", minLength: 1, group: "model", description: "Branch, tag or commit of a hub id." },
    init: {
      enum: ["checkpoint", "random"],
      default: "checkpoint",
      group: "model",
      description: "Start from the checkpoint's weights, or from random ones in its shape.",
    },

    task: {
      type: "string",
      minLength: 1,
      group: "data",
      description:
        "A GLUE task (RTE, MRPC, STS-B, CoLA, SST-2, QNLI, QQP, MNLI, MNLI-MM), read from the folder named by data.",
    },
    data: {
      type: "string",
      minLength: 1,
      group: "data",
      kind: "path",
      description: "Folder of the GLUE task, or the training file (CSV, TSV, JSONL or Parquet).",
    },
    validation: {
      type: "string",
      minLength: 1,
      group: "data",
      kind: "path",
      description: "Validation file; cut from the training rows when not given.",
    },
    test: {
      type: "string",
      minLength: 1,
      group: "data",
      kind: "path",
      description: "Test file; half of the validation file, or cut from the training rows, when not given.",
    },
    text: { type: "string", minLength: 1, group: "data", description: "Column of the text." },
    pair: { type: "string", minLength: 1, group: "data", description: "Column of the second text." },
    label: { type: "string", minLength: 1, group: "data", description: "Column of the label." },
    trainRows: {
      type: "integer",
      minimum: 1,
      group: "data",
      description: "Train on this many rows (1000: the paper's 1k subsets).",
    },
    maxLength: {
      type: "integer",
      minimum: 3,
      default: 128,
      group: "data",
      description: "Longest input in tokens, special tokens included; longer ones are cut.",
    },
    evaluateOn: {
      enum: ["halves", "full"],
      default: "halves",
      group: "data",
      description: "Score on the two halves of the dev rows (the paper's way), or on all of them for both.",
    },
    skipBadRows: {
      type: "boolean",
      default: false,
      group: "data",
      description: "Count and skip rows that cannot be read, instead of stopping at the first.",
    },

    epochs: {
      type: "number",
      exclusiveMinimum: 0,
      group: "training",
      description: "Passes over the training rows; 3 when neither epochs nor steps is given.",
    },
    steps: {
      type: "integer",
      minimum: 1,
      group: "training",
      description: "Optimizer steps; where they are given, epochs count for nothing.",
    },
    batchSize: {
      type: "integer",
      minimum: 1,
      default: 32,
      group: "training",
      description: "Rows per optimizer step.",
    },
    accumulation: {
      type: "integer",
      minimum: 1,
      default: 1,
      group: "training",
      description:
        "Parts that a batch is cut into, to use less memory; the result is that of the whole batch, except that under " +
        "mixout each part has masks of its own.",
    },
    dropout: {
      type: "number",
      minimum: 0,
      exclusiveMaximum: 1,
      group: "training",
      description: "Dropout everywhere in the model; the model's own config decides when not given.",
    },
    optimizer: { ...optimizerSchema, group: "training" },
    methods: {
      type: "array",
      items: methodSchema,
      default: [],
      group: "training",
      description: "Changes to plain fine-tuning, applied in this order.",
    },
    protocol: {
      enum: ["paper", "released"],
      default: "paper",
      group: "training",
      description: "Where the two differ: do as the paper says, or as its released code does.",
    },

    seed: { ...seedRange, group: "seeds", description: "Seed of everything random; 0 when no seed is given." },
    initSeed: { ...seedRange, group: "seeds", description: "Seed of the new weights alone; seed when not given." },
    orderSeed: {
      ...seedRange,
      group: "seeds",
      description: "Seed of data order, dropout and mixout alone; seed when not given.",
    },

    evaluations: {
      type: "integer",
      minimum: 1,
      default: 10,
      group: "evaluation",
      description: "How often to score, evenly spaced, the last time after the last step.",
    },
    evaluationBatchSize: {
      type: "integer",
      minimum: 1,
      default: 64,
      group: "evaluation",
      description:
        "Rows per forward pass when scoring, and more where they are short, up to 2,048 tokens; does not change the " +
        "scores.",
    },
    selectBy: {
      enum: ["accuracy", "f1", "matthews", "spearman", "pearson"],
      group: "evaluation",
      description: "Metric on the validation rows that picks the best checkpoint; the task's own when not given.",
    },

    output: {
      type: "string",
      minLength: 1,
      group: "run",
      kind: "path",
      description: "Folder of the run; named after the data and the seed when not given, such as runs/rte-seed0.",
    },
    resume: {
      type: "boolean",
      default: false,
      group: "run",
      description: "Go on with the unfinished run in the output folder, if there is one.",
    },
    keep: {
      enum: ["best", "none"],
      default: "best",
      group: "run",
      description: "Save the best checkpoint as a Hugging Face folder, or scores alone.",
    },
    stateEvery: {
      type: "number",
      exclusiveMinimum: 0,
      default: 60,
      group: "run",
      description: "Seconds between saved states, besides those at evaluations and on a signal.",
    },
    diagnosticsEvery: {
      type: "integer",
      minimum: 1,
      group: "run",
      description:
        "Log every so many steps how far each block has moved, the ratio of the uncorrected to the corrected update, " +
        "the mean loss and the share of clipped steps; off when not given.",
    },
    tensorboard: {
      type: "boolean",
      group: "run",
      description: "Write an event file of TensorBoard into the run's folder as well; off when not given.",
    },
    device: {
      enum: ["auto", "cpu", "cuda"],
      default: "auto",
      group: "run",
      description: "Where to compute; auto is the GPU where there is one that works, else the CPU.",
    },
    dtype: {
      enum: ["float32", "bfloat16"],
      default: "float32",
      group: "run",
      description:
        "Number format of the matrix products; weights, moments and sums stay float32. On a CPU bfloat16 is faster " +
        "from AVX-512 on.",
    },
    engine: {
      enum: ["fused", "reference"],
      default: "fused",
      group: "run",
      description: "The fast form of the model's blocks, or the plain one that it is compared with.",
    },
    threads: {
      type: "integer",
      minimum: 0,
      maximum: 1024,
      default: 0,
      group: "run",
      description: "CPU threads; 0 is one per physical core.",
    },
  },
  additionalProperties: false,
} as const;

/** Keys of the run as a whole: where it runs, what it starts from, and what stays of it. */
const {
  $schema: _schema,
  description: _description,
  model: _model,
  revision: _revision,
  output: _output,
  resume: _resume,
  keep: _keep,
  stateEvery: _stateEvery,
  tensorboard: _tensorboard,
  device: _device,
  threads: _threads,
  ...transferProperties
} = runSchema.properties;

const transferSchema = {
  type: "object",
  group: "training",
  description:
    "An intermediate task: a run of its own that is trained first, once for all runs that share it; this run starts " +
    "from its best checkpoint. What it leaves open: batches, optimizer, maxLength, dropout, dtype, engine, protocol and " +
    "evaluations are those of this run, data where both are GLUE tasks, all else (3 epochs, seed 0) the default.",
  properties: transferProperties,
  additionalProperties: false,
} as const;

export const configSchema = {
  ...runSchema,
  properties: { ...runSchema.properties, transfer: transferSchema },
} as const;

export type MethodConfig = FromSchema<(typeof methodSchemas)[number]>;
export type MethodName = MethodConfig["name"];

/** A method of the user's own: a file, and whatever options it takes. */
export interface OwnMethodConfig {
  /** Path of the module: relative to the config file that names it, absolute once resolved. */
  name: `./${string}` | `../${string}` | `/${string}` | `${string}.${"" | "c" | "m"}${"j" | "t"}s`;
  /** Of the file, filled in when the config is resolved: an edited method makes another run. */
  sha256?: string;
  [option: string]: unknown;
}

export type MethodEntry = MethodConfig | OwnMethodConfig;

export function isOwnMethod(entry: MethodEntry): entry is OwnMethodConfig {
  return new RegExp(methodFile).test(entry.name);
}

export type OptimizerConfig = FromSchema<typeof optimizerSchema>;

type PlainRunConfig = FromSchema<typeof runSchema, { keepDefaultedPropertiesOptional: true }>;

/** A run as users write it: everything may be left out that has a default. */
export interface RunConfig extends Omit<PlainRunConfig, "methods"> {
  methods?: MethodEntry[];
  transfer?: TransferConfig;
}

/** Keys that an intermediate task shares with the run that it is for, and cannot set. */
type KeyOfTheRunAlone = Exclude<keyof PlainRunConfig, keyof typeof transferProperties> | "transfer";

/** The intermediate task of a run as users write it. */
export type TransferConfig = Omit<RunConfig, KeyOfTheRunAlone>;

type PlainWithDefaults = Omit<FromSchema<typeof runSchema>, "$schema" | "description" | "extends" | "methods">;

/**
 * A run with every default filled in, as `config.json` of a run folder holds it; itself a valid RunConfig that
 * resolves to itself. Of `steps` and `epochs` exactly one is there. Keys that stay optional have a meaning when absent.
 */
export interface ResolvedConfig extends PlainWithDefaults {
  model: string;
  data: string;
  output: string;
  seed: number;
  initSeed: number;
  orderSeed: number;
  methods: MethodEntry[];
  transfer?: ResolvedTransfer;
}

/** An intermediate task with everything filled in, from its own keys, those of its run, and the defaults. */
export type ResolvedTransfer = Omit<ResolvedConfig, KeyOfTheRunAlone>;

/** A config whose model and data are still open: what a recipe resolves to. */
export type PartialConfig = Omit<ResolvedConfig, "model" | "data" | "output" | "transfer"> &
  Partial<Pick<ResolvedConfig, "model" | "data" | "output">> & {
    transfer?: Omit<ResolvedTransfer, "data"> & Partial<Pick<ResolvedTransfer, "data">>;
  };

/** The keys that an intermediate task can set. */
export const transferKeys: readonly string[] = Object.keys(transferProperties);

export type ConfigGroup = "file" | "model" | "data" | "training" | "seeds" | "evaluation" | "run";

/** The groups in the order in which help and docs show them. */
export const configGroups: Record<Exclude<ConfigGroup, "file">, string> = {
  model: "Model",
  data: "Data",
  training: "Training",
  seeds: "Seeds",
  evaluation: "Evaluation",
  run: "Run",
};
