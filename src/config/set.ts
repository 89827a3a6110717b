import { ConfigError } from "../errors.js";
import { mergeConfigs } from "./merge.js";
import { configSchema, type RunConfig } from "./schema.js";

type Container = Record<string, unknown> | unknown[];

/**
 * A copy of `config` with one assignment made, as `--set` takes it: `optimizer.learningRate=5e-5`,
 * `methods.0.decay=0.9`, `methods=[{"name":"reinit","layers":2}]`. The value is read as JSON, and as plain text where
 * it is no JSON or the key holds text; `key=null` takes a key out again, back to its default. Setting `steps` takes out
 * `epochs` and so on, as in `mergeConfigs`.
 *
 * Whether the key exists and the value fits is for `resolveConfig` to say.
 *
 * @throws ConfigError when it is not `key=value`, or goes through something that holds no keys
 */
export function applySet(config: RunConfig, assignment: string): RunConfig {
  const equals = assignment.indexOf("=");
  const path = assignment.slice(0, equals).trim();
  if (equals < 1 || path.split(".").includes("")) {
    throw new ConfigError(`--set "${assignment}" is not of the form key=value`, {
      hint: "such as --set optimizer.learningRate=5e-5",
    });
  }
  const value = parseValue(assignment.slice(equals + 1), path.replace(/^transfer\./, ""));
  return setKey(config, path, value, "--set ");
}

/**
 * A copy of `config` with the key at `path` ("methods.0.decay") set to `value`; null takes it out.
 *
 * @param said put in front of messages
 * @throws ConfigError when the path goes through something that holds no keys
 */
export function setKey(config: RunConfig, path: string, value: unknown, said: string, prefix = ""): RunConfig {
  const keys = path.split(".");
  if (prefix === "" && keys[0] === "transfer" && keys.length > 1) {
    const inner = keys.slice(1).join(".");
    return { ...config, transfer: setKey(config.transfer ?? {}, inner, value, said, "transfer.") };
  }
  const copy: Container & RunConfig = structuredClone({ ...config });
  let place: Container = copy;
  for (const [depth, key] of keys.slice(0, -1).entries()) {
    const next = read(place, key);
    if (next !== undefined && !isContainer(next)) {
      throw new ConfigError(`${said}${prefix}${path}: ${prefix}${keys.slice(0, depth + 1).join(".")} holds no keys`);
    }
    if (next === undefined && Array.isArray(place)) throw noSuchItem(said, prefix, keys, depth, place);
    const inner: Container = next ?? {};
    write(place, key, inner);
    place = inner;
  }
  const last = keys.at(-1)!;
  if (Array.isArray(place) && !(Number(last) <= place.length))
    throw noSuchItem(said, prefix, keys, keys.length - 1, place);
  if (value === null) remove(place, last);
  else write(place, last, value);
  const { [keys[0] as keyof RunConfig]: changed, ...untouched } = copy;
  return changed === undefined ? copy : mergeConfigs(untouched, { [keys[0]!]: changed });
}

function parseValue(text: string, path: string): unknown {
  const property = Object.entries(configSchema.properties).find(([key]) => key === path)?.[1];
  if (property && "type" in property && property.type === "string" && text !== "null") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function noSuchItem(said: string, prefix: string, keys: string[], depth: number, array: unknown[]): ConfigError {
  const parent = keys.slice(0, depth).join(".");
  return new ConfigError(
    `${said}${prefix}${keys.join(".")}: ${prefix}${parent} has ${array.length} items, counted from 0`,
  );
}

function isContainer(value: unknown): value is Container {
  return typeof value === "object" && value !== null;
}

function read(place: Container, key: string): unknown {
  return Object.hasOwn(place, key) ? (place as Record<string, unknown>)[key] : undefined;
}

/** Defined, not assigned: a key such as `__proto__` must become a key, which is then unknown, and nothing else. */
function write(place: Container, key: string, value: unknown): void {
  Object.defineProperty(place, key, { value, writable: true, enumerable: true, configurable: true });
}

function remove(place: Container, key: string): void {
  if (Array.isArray(place)) place.splice(Number(key), 1);
  else delete place[key];
}
