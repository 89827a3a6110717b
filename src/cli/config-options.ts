import { Option, type Command } from "commander";
import { resolve } from "node:path";
import {
  configGroups,
  configSchema,
  type ConfigGroup,
  type OwnMethodConfig,
  type RunConfig,
} from "../config/schema.js";

interface Property {
  group: ConfigGroup;
  description: string;
  type?: string;
  enum?: readonly string[];
  default?: unknown;
  kind?: "path";
}

type ConfigKey = Exclude<keyof RunConfig, undefined>;

/** The keys that have a flag of their own: all but the nested ones, which `--set` reaches. */
const flagKeys = Object.entries(configSchema.properties as Record<string, Property>).filter(
  ([, { group, type }]) => group !== "file" && type !== "object" && type !== "array",
);

/** Adds one flag per config key, taken from the schema, and `--recipe` and `--set`. */
export function addConfigOptions(command: Command, keys?: readonly ConfigKey[]): void {
  if (keys === undefined) {
    command.optionsGroup("Config:");
    command.option("--recipe <name|file>", "start from a recipe or a config file; repeat to put one on top", collect);
    command.option(
      "--set <key=value>",
      "any config key, such as optimizer.learningRate=5e-5; may be repeated",
      collect,
    );
  }
  for (const [group, title] of Object.entries(configGroups)) {
    const own = flagKeys.filter(
      ([key, property]) => property.group === group && (keys?.includes(key as ConfigKey) ?? true),
    );
    if (own.length === 0) continue;
    command.optionsGroup(`${title}:`);
    for (const [key, property] of own) command.addOption(flag(key, property));
  }
}

/** For commands that are about one run: with several, each has methods of its own. */
export function addMethodOption(command: Command): void {
  command.optionsGroup("Config:");
  command.option("--method <file>", "a method of your own, behind those of the config; may be repeated", collect);
}

function flag(key: string, property: Property): Option {
  const name = `--${kebab(key)}`;
  const flags = property.type === "boolean" ? name : `${name} <${valueName(property)}>`;
  const known = property.default !== undefined && property.type !== "boolean";
  return new Option(flags, lowerFirst(property.description) + (known ? ` (default: ${property.default})` : ""));
}

function valueName({ enum: values, kind, type }: Property): string {
  if (values) return values.length <= 3 ? values.join("|") : "name";
  if (kind === "path") return "path";
  return type === "integer" ? "n" : type === "number" ? "x" : "name";
}

/**
 * What the flags say, as a config layer: recipes first, then flags and `--method`, then `--set` in the order given. Checked only as
 * far as recipes are; `resolveConfig` does the rest.
 */
export async function configFromOptions(options: Record<string, unknown>): Promise<RunConfig> {
  const [{ readConfigFile }, { mergeConfigs }, { applySet }] = await Promise.all([
    import("../config/file.js"),
    import("../config/merge.js"),
    import("../config/set.js"),
  ]);
  const flags: Record<string, unknown> = {};
  for (const [key, property] of flagKeys) {
    if (options[key] !== undefined) flags[key] = flagValue(options[key], property);
  }
  const { recipe = [], method = [], set = [] } = options as Record<"recipe" | "method" | "set", string[] | undefined>;
  const layers: RunConfig[] = [...recipe.map((name) => readConfigFile(name)), flags];
  const merged = layers.reduce(mergeConfigs, {});
  if (method.length > 0) merged.methods = [...(merged.methods ?? []), ...method.map(ownMethod)];
  return set.reduce(applySet, merged);
}

/** What has neither slash nor a module's ending is a file here all the same. */
function ownMethod(file: string): OwnMethodConfig {
  return { name: resolve(file) as OwnMethodConfig["name"] };
}

/** Text that is no number stays text, for the schema's check to name it. */
function flagValue(value: unknown, { type }: Property): unknown {
  const numeric = type === "integer" || type === "number";
  return numeric && typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value))
    ? Number(value)
    : value;
}

export function kebab(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** "Rows per step." as commander's help has it: "rows per step". */
function lowerFirst(sentence: string): string {
  const plain = sentence.replace(/\.$/, "");
  return /^[A-Z][a-z ]/.test(plain) ? plain[0]!.toLowerCase() + plain.slice(1) : plain;
}
