import { keyName } from "../config/check.js";
import { Ajv, type ErrorObject } from "ajv";
import { nearest } from "../config/suggest.js";
import { ConfigError } from "../errors.js";
import { studySchema, type StudyFile } from "./schema.js";

const validate = new Ajv({ allErrors: true, verbose: true }).compile<StudyFile>(studySchema);

/**
 * Throws unless `study` has the shape of a study file. The configs inside are not looked at.
 *
 * @param source the file's name, put in front of the message
 * @throws ConfigError naming the key at fault
 */
export function checkStudy(study: unknown, source: string): asserts study is StudyFile {
  if (validate(study)) return;
  const errors = validate.errors ?? [];
  const error = errors.find(({ keyword }) => keyword === "additionalProperties") ?? errors[0]!;
  const { message, hint } = describe(error);
  throw new ConfigError(`${source}: ${message}`, hint === undefined ? {} : { hint });
}

function describe({ keyword, instancePath, params, data, parentSchema, message }: ErrorObject): {
  message: string;
  hint?: string;
} {
  const key = keyName(instancePath);
  if (key.endsWith(".seeds") || key.includes(".seeds.") || key.includes(".seeds[")) {
    return {
      message: `${key.slice(0, key.indexOf(".seeds") + 6)} is not a choice of seeds`,
      hint: 'a count (5), a list ([0, 7, 11]) or a grid ({"init": [0, 1], "order": [0, 1]})',
    };
  }
  if (keyword === "required") return { message: `${key || "the study"} lacks "${params["missingProperty"]}"` };
  if (keyword === "additionalProperties") {
    const unknown = String(params["additionalProperty"]);
    const known = Object.keys((parentSchema as { properties: object }).properties);
    const near = nearest(unknown, known);
    return {
      message: `unknown key "${unknown}"${key === "" ? "" : ` in ${key}`}`,
      hint: near === undefined ? `known keys: ${known.join(", ")}` : `did you mean "${near}"?`,
    };
  }
  const value = JSON.stringify(data) ?? String(data);
  return { message: `${key || "the study"} ${message ?? "is not valid"}, but is ${value.slice(0, 60)}` };
}
