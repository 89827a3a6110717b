import type { FromSchema } from "json-schema-to-ts";

/**
 * A study file: what all runs share, and stages of cells (recipes x tasks) that are each run with every seed. The
 * configs inside (`base`, tasks and recipes) are checked by the schema of configs, in `file.ts`.
 */

const name = { type: "string", minLength: 1 } as const;

const seed = { type: "integer", minimum: 0, maximum: 4294967295 } as const;

const seedList = { type: "array", items: seed, minItems: 1, uniqueItems: true } as const;

const namedConfig = {
  type: "object",
  properties: { name: { ...name, description: "What reports call it." } },
  required: ["name"],
} as const;

const stageSchema = {
  type: "object",
  properties: {
    name: { ...name, description: "What reports call the stage." },
    tasks: {
      type: "array",
      items: namedConfig,
      minItems: 1,
      description: "One entry per data set: a name and config keys. One task, that of base, when not given.",
    },
    recipes: {
      type: "array",
      items: namedConfig,
      minItems: 1,
      description: "One entry per way to train: a name and config keys, which go on top of base and task.",
    },
    seeds: {
      oneOf: [
        { type: "integer", minimum: 1, maximum: 100000 },
        seedList,
        {
          type: "object",
          properties: { init: seedList, order: seedList },
          required: ["init", "order"],
          additionalProperties: false,
        },
      ],
      description: "How many (5: seeds 0 to 4), which ones, or a grid of init and order seeds.",
    },
  },
  required: ["name", "recipes", "seeds"],
  additionalProperties: false,
} as const;

export const studySchema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "steadytune study",
  type: "object",
  properties: {
    $schema: { type: "string", description: "For editors; not used." },
    name: { ...name, description: "Short name; the study's folder is runs/<name> when --output is not given." },
    title: { ...name, description: "Heading of the report." },
    description: { ...name, description: "What the study asks; a paragraph under the heading of the report." },
    next: { ...name, description: "What to do after it; printed at the end." },
    base: { type: "object", description: "Config keys that all runs share." },
    stages: { type: "array", items: stageSchema, minItems: 1, description: "Run one after the other." },
  },
  required: ["name", "stages"],
  additionalProperties: false,
} as const;

export type StudyFile = FromSchema<typeof studySchema>;
export type StageFile = StudyFile["stages"][number];
export type SeedsFile = StageFile["seeds"];
