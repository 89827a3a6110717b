import type { FromSchema } from "json-schema-to-ts";
import { executorSchema } from "./slurm/options.js";

/** The key `budget` of a study file. */
export const budgetSchema = {
  type: "object",
  properties: {
    hours: {
      type: "number",
      exclusiveMinimum: 0,
      description: "Hours that the finished runs may have taken together, whoever ran them, before no more are begun.",
    },
  },
  required: ["hours"],
  additionalProperties: false,
} as const;

export type BudgetConfig = FromSchema<typeof budgetSchema>;

/**
 * A study file: what all runs share, and stages of cells (recipes x tasks) that are each run with every seed. The
 * configs inside (`base`, tasks, recipes, presets) are checked by the schema of configs, in `file.ts`.
 */

const name = { type: "string", minLength: 1 } as const;

const seed = { type: "integer", minimum: 0, maximum: 4294967295 } as const;

const seedList = { type: "array", items: seed, minItems: 1, uniqueItems: true } as const;

const seeds = {
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
} as const;

const namedConfig = {
  type: "object",
  properties: { name: { ...name, description: "What reports call it." } },
  required: ["name"],
} as const;

const tasks = {
  type: "array",
  items: { oneOf: [name, namedConfig] },
  minItems: 1,
} as const;

const taskNames = { type: "array", items: name, minItems: 1, uniqueItems: true } as const;

const gridSchema = {
  type: "object",
  additionalProperties: { type: "array", items: {}, minItems: 1, uniqueItems: true },
  minProperties: 1,
  description:
    "A cell per combination of these values of config keys, nested ones with dots: " +
    '{"optimizer.learningRate": [1e-5, 2e-5], "methods.0.layers": [1, 2, 3]}.',
} as const;

const selectSchema = {
  type: "object",
  properties: {
    stage: { ...name, description: "An earlier stage." },
    recipe: {
      ...name,
      description: "The recipe in it whose grid points compete; all cells of the stage when not given.",
    },
  },
  required: ["stage"],
  additionalProperties: false,
  description:
    "Take the config of the cell of an earlier stage that is best, on the same task, by the mean validation score " +
    "over its seeds. The recipe's own keys go on top.",
} as const;

const numbersSchema = {
  type: "object",
  properties: {
    mean: { type: "number" },
    std: { type: "number", minimum: 0 },
    n: { type: "integer", minimum: 1, description: "Runs behind the numbers." },
    source: { ...name, description: 'Where they stand, such as "Table 1".' },
  },
  required: ["mean", "source"],
  additionalProperties: false,
} as const;

const expectedSchema = {
  type: "object",
  additionalProperties: {
    type: "object",
    properties: {
      test: { ...numbersSchema, description: "Scores on the test rows." },
      validation: { ...numbersSchema, description: "Scores on the validation rows." },
    },
    minProperties: 1,
    additionalProperties: false,
  },
  description: "Published numbers to set ours against, task by task, as they are printed: 100 times the metric.",
} as const;

const recipeSchema = {
  type: "object",
  properties: {
    name: { ...name, description: "What reports call it." },
    tasks: { ...taskNames, description: "Only on these tasks of the stage; on all when not given." },
    grid: gridSchema,
    select: selectSchema,
    expected: expectedSchema,
  },
  required: ["name"],
} as const;

const stageSchema = {
  type: "object",
  properties: {
    name: { ...name, description: "What reports call the stage." },
    tasks: {
      ...tasks,
      description:
        "One entry per data set: the name of a task of the study, or a name and config keys. Those of the study when " +
        "not given; where that has none, one task, that of base.",
    },
    recipes: {
      type: "array",
      items: recipeSchema,
      minItems: 1,
      description: "One entry per way to train: a name and config keys, which go on top of base and task.",
    },
    seeds,
  },
  required: ["name", "recipes", "seeds"],
  additionalProperties: false,
} as const;

const presetSchema = {
  type: "object",
  properties: {
    description: { ...name, description: "What it is for; printed beside the study's title." },
    needsModel: {
      type: "boolean",
      description: "Whether it is for a model that the command line names, and for none that the file does.",
    },
    base: { type: "object", description: "Config keys on top of base and tasks, below those of recipes." },
    tasks: { ...tasks, description: "The tasks that are kept, or others of the same names." },
    recipes: {
      type: "object",
      additionalProperties: { type: "object" },
      description: "Config keys on top of recipes, by the recipe's name.",
    },
    grid: { ...gridSchema, description: "Other values for these keys in every grid that has them." },
    seeds: { ...seeds, description: "Seeds of all stages." },
  },
  additionalProperties: false,
} as const;

export const studySchema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "steadytune study",
  type: "object",
  properties: {
    $schema: { type: "string", description: "For editors; not used." },
    name: {
      ...name,
      pattern: "^[^./\\\\][^/\\\\]*$",
      description: "Short name; the study's folder is runs/<name> when --output is not given.",
    },
    title: { ...name, description: "Heading of the report." },
    description: { ...name, description: "What the study asks; a paragraph under the heading of the report." },
    next: { ...name, description: "What to do after it; printed at the end." },
    executor: { ...executorSchema, description: "Where the trials run, unless --executor says otherwise." },
    budget: { ...budgetSchema, description: "When to stop, finished or not." },
    base: { type: "object", description: "Config keys that all runs share." },
    tasks: {
      type: "array",
      items: namedConfig,
      minItems: 1,
      description: "The data sets of all stages that do not say theirs: a name and config keys each.",
    },
    stages: { type: "array", items: stageSchema, minItems: 1, description: "Run one after the other." },
    presets: {
      type: "object",
      additionalProperties: presetSchema,
      description: "Variants of the study, by name: `--preset small` for less data, fewer seeds, other values.",
    },
  },
  required: ["name", "stages"],
  additionalProperties: false,
} as const;

export type StudyFile = FromSchema<typeof studySchema>;
export type StageFile = StudyFile["stages"][number];
export type RecipeFile = StageFile["recipes"][number];
export type TaskFile = FromSchema<typeof namedConfig>;
export type SeedsFile = StageFile["seeds"];
export type GridFile = FromSchema<typeof gridSchema>;
export type SelectFile = FromSchema<typeof selectSchema>;
export type PresetFile = FromSchema<typeof presetSchema>;
/** Published numbers of one cell, in the units in which they are printed (100 times the metric). */
export type Expected = FromSchema<typeof expectedSchema>[string];
