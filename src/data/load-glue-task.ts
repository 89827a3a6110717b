import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DataError } from "../errors.js";
import type { Part } from "./examples.js";
import { countClasses, labelsOf, partOf, sourceOf, toExamples, wholeOf } from "./examples.js";
import type { GlueTask } from "./glue-tasks.js";
import { checkClasses, knownScheme } from "./labels.js";
import type { LoadTaskOptions } from "./load-options.js";
import { groupByLabel, halves } from "./splits.js";
import {
  balancedSubset,
  checkTrainRows,
  extraValidation,
  fewerRows,
  regressionSubset,
  releasedDevOrder,
} from "./subsets.js";
import type { Example, TaskData, TaskInfo } from "./task.js";
import { readGlueTsv } from "./tsv-glue.js";

/** Rows of the extra validation set of the large tasks (section 3 of the paper). */
const extraValidationRows = 1000;

/** Reads a GLUE task from its official files and splits it as the paper does. */
export async function loadGlueTask(task: GlueTask, options: LoadTaskOptions): Promise<TaskData> {
  const folder = await findFolder(task, options.data);
  const files: string[] = [];
  const notes: string[] = [];
  const read = async (path: string): Promise<Part> => {
    const { examples, ...said } = await readGlueExamples(task, path, options.skipBadRows ?? false);
    files.push(path);
    notes.push(...said.notes);
    return wholeOf(path, examples);
  };

  const all = await read(join(folder, task.trainFile));
  if (task.problem === "classification") {
    checkClasses(all.path, task.labels, countClasses(all.examples, task.labels.length));
  }
  const named = {
    validation: options.validation === undefined ? null : await read(resolve(options.validation)),
    test: options.test === undefined ? null : await read(resolve(options.test)),
  };
  const fromTrain = task.large && options.evaluateOn !== "full" && named.validation === null && named.test === null;
  const { train, extra } = trainingParts(task, all, options.trainRows, fromTrain, notes);
  const { validation, test } = await evaluationParts();
  return {
    task: infoOf(task),
    train: train.examples,
    validation: validation.examples,
    test: test.examples,
    sources: { train: sourceOf(train), validation: sourceOf(validation), test: sourceOf(test) },
    files,
    notes,
  };

  /** Files that the user names come first; dev stands in for what is left, and is cut when it must serve as both. */
  async function evaluationParts(): Promise<{ validation: Part; test: Part }> {
    if (named.validation !== null && named.test !== null) return { validation: named.validation, test: named.test };
    const dev = await read(join(folder, task.devFile));
    if (named.validation !== null || named.test !== null || options.evaluateOn === "full") {
      return { validation: named.validation ?? dev, test: named.test ?? dev };
    }
    const reordered = releasedOrder(task, dev, options);
    if (extra !== null) return { validation: extra, test: reordered };
    const parts = halves(labelsOf(reordered.examples));
    if (parts.validation.length === 0) throw new DataError(`${dev.path} has too few rows to be cut into halves`);
    return { validation: partOf(reordered, parts.validation), test: partOf(reordered, parts.test) };
  }
}

async function readGlueExamples(
  task: GlueTask,
  path: string,
  skipBadRows: boolean,
): Promise<{ examples: Example[]; notes: string[] }> {
  const table = await readGlueTsv(path, task, { skipBadRows });
  const columnOf = (name: string) => {
    const index = table.columns.indexOf(name);
    if (index < 0) throw new DataError(`${path}, line 1: the header has no column '${name}'`);
    return index;
  };
  const columns = {
    text: columnOf(task.textColumn),
    pair: task.pairColumn === null ? null : columnOf(task.pairColumn),
    label: columnOf(task.labelColumn),
    notes: [],
  };
  const examples = toExamples(table, columns, knownScheme(task.problem, task.written));
  if (examples.length === 0) throw new DataError(`${path} holds no rows`);
  return { examples, notes: [...table.notes, ...table.badRows.notes()] };
}

/** Dev rows in the order in which the followed protocol cuts them. */
function releasedOrder(task: GlueTask, dev: Part, options: LoadTaskOptions): Part {
  if (options.protocol !== "released" || options.trainRows === undefined) return dev;
  return partOf(dev, releasedDevOrder(task.problem, labelsOf(dev.examples), options.trainRows));
}

/** The rows to train on and, where they come from the training file too, those to validate on. */
function trainingParts(
  task: GlueTask,
  all: Part,
  trainRows: number | undefined,
  fromTrain: boolean,
  notes: string[],
): { train: Part; extra: Part | null } {
  const { examples, path } = all;
  if (trainRows !== undefined) checkTrainRows(trainRows, path, examples.length, task.labels.length);
  if (task.problem === "regression") {
    const train = trainRows === undefined ? all : partOf(all, regressionSubset(examples.length, trainRows));
    return { train, extra: null };
  }
  const labels = labelsOf(examples);
  const split = fromTrain ? extraValidation(labels, extraValidationRows) : null;
  if (split !== null) checkDisjoint(task, path, labels, trainRows);
  const extra = split === null ? null : partOf(all, split.validation);
  if (trainRows === undefined) return { train: split === null ? all : partOf(all, split.train), extra };
  const train = partOf(all, balancedSubset(labels, trainRows));
  notes.push(...fewerRows(path, train.examples.length, trainRows, task.labels.length));
  return { train, extra };
}

/** Training takes rows from the front of each class, validation from the back: they must not meet. */
function checkDisjoint(task: GlueTask, path: string, labels: number[], trainRows: number | undefined): void {
  const classes = task.labels.length;
  const training = trainRows === undefined ? 1 : Math.floor(trainRows / classes);
  const needed = Math.floor(extraValidationRows / classes) + training;
  const smallest = Math.min(...groupByLabel(labels).map((group) => group.length));
  if (smallest >= needed) return;
  throw new DataError(
    `${path} has a class of ${smallest} rows, and training and validation together need ${needed} of each class`,
    { hint: "Name a validation file, train on fewer rows, or score on the whole dev set (--evaluate-on full)." },
  );
}

async function findFolder(task: GlueTask, data: string): Promise<string> {
  const folder = resolve(data);
  for (const candidate of [join(folder, task.folder), folder]) {
    if ((await stat(join(candidate, task.trainFile)).catch(() => null)) !== null) return candidate;
  }
  throw new DataError(
    `no ${task.name} data: neither ${task.folder}/${task.trainFile} nor ${task.trainFile} is in ${folder}`,
    {
      hint: `Give the folder of the GLUE archive that holds ${task.folder}/.`,
    },
  );
}

function infoOf({ name, problem, labels, pairs, metric }: GlueTask): TaskInfo {
  return { name, problem, labels: [...labels], pairs, metric };
}
