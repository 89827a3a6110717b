import { resolve } from "node:path";
import { Ajv, type ErrorObject } from "ajv";
import { ConfigError } from "../errors.js";
import {
  configSchema,
  isOwnMethod,
  methodSchemas,
  transferKeys,
  type MethodConfig,
  type MethodEntry,
  type RunConfig,
  type TransferConfig,
} from "./schema.js";
import { nearest } from "./suggest.js";

const ajv = new Ajv({ discriminator: true, useDefaults: false, allErrors: true, verbose: true });
const filler = new Ajv({ discriminator: true, useDefaults: true });
for (const instance of [ajv, filler]) instance.addVocabulary(["group", "kind"]);
const validate = ajv.compile<RunConfig>(configSchema);
const fill = filler.compile<RunConfig>(configSchema);

/** Every key that a config can have, nested ones with a dot: "batchSize", "optimizer.eps". */
export const configKeys: readonly string[] = keysOf(configSchema);

function keysOf({ properties }: { properties: object }): string[] {
  return Object.entries(properties).flatMap(([key, property]: [string, object]) =>
    "properties" in property
      ? [key, ...keysOf(property as { properties: object }).map((nested) => `${key}.${nested}`)]
      : [key],
  );
}

/** What other tools call our keys, where no spelling comes near. */
const otherNames: Record<string, string> = {
  lr: "optimizer.learningRate",
  "optimizer.lr": "optimizer.learningRate",
  weightDecay: 'methods: [{"name": "weight-decay", "lambda": 0.01}]',
  numTrainEpochs: "epochs",
  perDeviceTrainBatchSize: "batchSize",
  maxSteps: "steps",
  maxSeqLength: "maxLength",
  warmupRatio: "optimizer.warmup",
  gradientAccumulationSteps: "accumulation",
  bf16: 'dtype: "bfloat16"',
  outputDir: "output",
  modelNameOrPath: "model",
};

/**
 * Throws unless `config` is a well-formed run: only known keys, right types, values in range, no two settings that
 * contradict each other. Nothing is filled in.
 *
 * @param source where it was written ("recipe.json"), put in front of the message
 * @throws ConfigError
 */
export function checkConfig(config: unknown, source?: string): asserts config is RunConfig {
  const where = source === undefined ? "" : `${source}: `;
  if (!isRecord(config)) throw new ConfigError(`${where}a config must be an object, but is ${show(config)}`);
  if (!validate(config)) {
    const problem = describe(firstCause(validate.errors ?? []));
    throw new ConfigError(where + problem.message, { hint: problem.hint });
  }
  const contradiction = findContradiction(config);
  if (contradiction) throw new ConfigError(where + contradiction.message, { hint: contradiction.hint });
}

/**
 * A copy with the schema's defaults in the place of what is missing. `config` has passed `checkConfig`. What its
 * intermediate task leaves open is left open: that comes from the run first.
 */
export function withDefaults(config: RunConfig): RunConfig {
  const { transfer, ...filled } = structuredClone(config);
  fill(filled);
  return transfer === undefined ? filled : { ...filled, transfer };
}

interface Problem {
  message: string;
  hint?: string;
}

function findContradiction(config: RunConfig): Problem | undefined {
  return contradictionOfRun(config) ?? (config.transfer && contradictionOfTransfer(config.transfer, config));
}

/** What an intermediate task says against itself, or against the run that it is for. */
function contradictionOfTransfer(transfer: TransferConfig, run: RunConfig): Problem | undefined {
  const own = contradictionOfRun(transfer);
  if (own) return { ...own, message: `transfer: ${own.message}` };
  if (run.init === "random") {
    return {
      message: "init is random, but transfer has the run start from the weights of an intermediate task",
      hint: "keep one of them; transfer.init is where the intermediate task itself starts",
    };
  }
  if (transfer.task !== undefined && run.task !== undefined && isSameTask(transfer.task, run.task)) {
    return { message: `transfer.task is ${transfer.task}, which is the task of the run itself` };
  }
  if (transfer.task === undefined && run.task === undefined && transfer.data !== undefined && run.data !== undefined) {
    // One file can hold two tasks, in other columns.
    const sameColumns = (["text", "pair", "label"] as const).every((key) => transfer[key] === run[key]);
    if (sameColumns && resolve(transfer.data) === resolve(run.data)) {
      return { message: `transfer.data is ${transfer.data}, which is the data of the run itself` };
    }
  }
  return undefined;
}

/** Whether two spellings mean one task; both kinds of MNLI train on the same rows. */
function isSameTask(a: string, b: string): boolean {
  const spelling = (name: string) =>
    name
      .toLowerCase()
      .replaceAll(/[-_\s]/g, "")
      .replace(/^mnlimm$/, "mnli");
  return spelling(a) === spelling(b);
}

function contradictionOfRun(config: RunConfig): Problem | undefined {
  const { seed, initSeed, orderSeed, batchSize, accumulation, methods = [] } = config;
  if (
    seed !== undefined &&
    initSeed !== undefined &&
    orderSeed !== undefined &&
    ![initSeed, orderSeed].includes(seed)
  ) {
    return {
      message: `seed ${seed} has no effect, because initSeed and orderSeed are both given`,
      hint: "give seed alone, or initSeed and orderSeed",
    };
  }
  if (accumulation !== undefined && batchSize !== undefined && accumulation > batchSize) {
    return {
      message: `accumulation ${accumulation} cuts a batch of ${batchSize} rows into more parts than it has rows`,
    };
  }
  if (config.task !== undefined) {
    const column = (["text", "pair", "label"] as const).find((key) => config[key] !== undefined);
    if (column) {
      return {
        message: `${column} names a column, but the columns of the task ${config.task} are known`,
        hint: `leave out ${column}, or leave out task to read a file of your own`,
      };
    }
  }
  return contradictionOfMethods(methods, config.protocol ?? "paper");
}

function contradictionOfMethods(entries: readonly MethodEntry[], protocol: "paper" | "released"): Problem | undefined {
  // A method of the user's own may do something else with other options.
  const methods = entries.filter((entry): entry is MethodConfig => !isOwnMethod(entry));
  const names = methods.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice) return { message: `methods names "${twice}" twice` };
  if (names.includes("weight-decay") && names.includes("pretrained-weight-decay")) {
    return {
      message: "methods has both weight-decay and pretrained-weight-decay, which pull the same weights to two places",
      hint: "keep one of them",
    };
  }
  const find = <N extends MethodConfig["name"]>(name: N) =>
    methods.find((method): method is Extract<MethodConfig, { name: N }> => method.name === name);
  const [llrd, reinit, freeze] = [find("llrd"), find("reinit"), find("freeze")];
  const decay = find("pretrained-weight-decay") ?? find("weight-decay");
  if (llrd && decay && !keepsHeadDecay(llrd, protocol) && methods.indexOf(llrd) < methods.indexOf(decay)) {
    return {
      message: `methods has llrd, which takes the head out of weight decay, before ${decay.name}, which puts it back`,
      hint: `put llrd behind ${decay.name}, or give it "headDecay": true`,
    };
  }
  const drawn = reinit && reinit.layers > 0 ? ["pooler", "attention", "ffn", "layerNorm"] : reinit ? ["pooler"] : [];
  const stuck = freeze?.roles.find((role) => drawn.includes(role));
  if (stuck !== undefined) {
    return {
      message: `methods has reinit, which draws ${stuck} parameters anew, and freeze, which keeps them from learning`,
      hint: `keep one of them, or leave ${stuck} out of the roles that freeze names`,
    };
  }
  return undefined;
}

/** Whether weight decay acts on pooler and classifier where LLRD is on: the released code leaves them out. */
export function keepsHeadDecay(
  { headDecay }: { headDecay?: boolean | undefined },
  protocol: "paper" | "released",
): boolean {
  return headDecay ?? protocol === "paper";
}

/** Unknown keys first: a misspelt key is often the reason for what else is wrong. */
function firstCause(errors: ErrorObject[]): ErrorObject {
  return errors.find(({ keyword }) => keyword === "additionalProperties") ?? errors[0]!;
}

function describe({ keyword, instancePath, params, data, parentSchema }: ErrorObject): Problem {
  const key = keyName(instancePath);
  const value = show(data);
  switch (keyword) {
    case "additionalProperties":
      return unknownKey(key, String(params["additionalProperty"]), data);
    case "required":
      return { message: `${key}${methodName(data)} lacks "${params["missingProperty"]}"` };
    case "discriminator":
      return unknownMethod(key, isRecord(data) ? data["name"] : undefined);
    case "type":
      return { message: `${key} must be ${article(String(params["type"]))}, but is ${value}` };
    case "enum": {
      const allowed = (params["allowedValues"] as unknown[]).map(String);
      const near = typeof data === "string" ? nearest(data, allowed) : undefined;
      return {
        message: `${key} must be one of ${allowed.join(", ")}, but is ${value}`,
        hint: near && didYouMean(near),
      };
    }
    case "minimum":
      return { message: `${key} must be at least ${params["limit"]}, but is ${value}` };
    case "maximum":
      return { message: `${key} must be at most ${params["limit"]}, but is ${value}` };
    case "exclusiveMinimum":
      return { message: `${key} must be above ${params["limit"]}, but is ${value}` };
    case "exclusiveMaximum":
      return { message: `${key} must be below ${params["limit"]}, but is ${value}` };
    case "minLength":
      return { message: `${key} is empty` };
    case "minItems":
    case "additionalItems": {
      const { minItems, additionalItems } = parentSchema as { minItems: number; additionalItems?: false };
      const count = `${additionalItems === false ? "" : "at least "}${minItems} ${minItems === 1 ? "value" : "values"}`;
      return { message: `${key} must hold ${count}, but is ${value}` };
    }
    case "uniqueItems":
      return { message: `${key} names ${show((data as unknown[])[Number(params["i"])])} twice` };
    default:
      return { message: `${key} is not valid: ${value}` };
  }
}

function unknownKey(parent: string, name: string, object: unknown): Problem {
  const place = parent === "" ? "" : ` in ${parent}${methodName(object)}`;
  const message = `unknown key "${name}"${place}`;
  const method = methodSchemas.find((schema) => isRecord(object) && schema.properties.name.const === object["name"]);
  if (method && /^(transfer\.)?methods\[/.test(parent)) {
    return {
      message,
      hint: `${method.properties.name.const} takes ${Object.keys(method.properties).slice(1).join(", ")}`,
    };
  }
  if (parent === "transfer" && Object.hasOwn(configSchema.properties, name)) {
    const hint =
      name === "transfer"
        ? "an intermediate task cannot have one of its own"
        : `${name} is that of the run; transfer takes ${transferKeys.join(", ")}`;
    return { message, hint };
  }
  const path = parent === "" ? name : `${parent}.${name}`;
  const inner = path.replace(/^transfer\./, "");
  const other = Object.keys(otherNames).find(
    (key) => key.toLowerCase() === inner.toLowerCase().replaceAll(/[-_]/g, ""),
  );
  const near = other === undefined ? nearKey(path, name) : `${path.slice(0, -inner.length)}${otherNames[other]}`;
  return { message, hint: near ? didYouMean(near) : "steadytune config schema lists every key" };
}

/** The nearest key at the same place, or one of that name at another. */
function nearKey(path: string, name: string): string | undefined {
  const siblings = configKeys.filter((key) => key.split(".").length === path.split(".").length);
  return (
    nearest(path, siblings) ??
    configKeys.find((key) => key.split(".").at(-1) === nearest(name, [key.split(".").at(-1)!]))
  );
}

function unknownMethod(key: string, name: unknown): Problem {
  const known = methodSchemas.map((schema) => schema.properties.name.const);
  if (name === undefined) return { message: `${key} lacks "name"`, hint: `known methods: ${known.join(", ")}` };
  const near = typeof name === "string" ? nearest(name, known) : undefined;
  return {
    message: `${key}: unknown method ${show(name)}`,
    hint: near ? didYouMean(near) : `known methods: ${known.join(", ")}; one of your own is a file: "./mine.js"`,
  };
}

/** "/methods/0/decay" to "methods[0].decay". */
export function keyName(instancePath: string): string {
  return instancePath
    .split("/")
    .slice(1)
    .map((part, i) => (/^\d+$/.test(part) ? `[${part}]` : i === 0 ? part : `.${part}`))
    .join("");
}

function methodName(object: unknown): string {
  return isRecord(object) && typeof object["name"] === "string" ? ` (${object["name"]})` : "";
}

const didYouMean = (what: string) => `did you mean ${what.includes(" ") ? what : `"${what}"`}?`;

const article = (type: string) => (/^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`);

/** A value as an error message quotes it, at most 60 characters long. */
function show(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
