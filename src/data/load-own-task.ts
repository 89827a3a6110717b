import { readdir, stat } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { DataError } from "../errors.js";
import { chooseColumns } from "./columns.js";
import type { Part } from "./examples.js";
import { countClasses, labelsOf, partOf, sourceOf, toExamples, wholeOf } from "./examples.js";
import type { LabelScheme } from "./labels.js";
import { checkClasses, guessScheme, labelText } from "./labels.js";
import type { LoadTaskOptions } from "./load-options.js";
import { readTable, tableExtensions } from "./read-table.js";
import { cut, groupByLabel, halves } from "./splits.js";
import { balancedSubset, checkTrainRows, fewerRows, regressionSubset } from "./subsets.js";
import type { Example, SplitName, TaskData } from "./task.js";

/** What a missing validation or test set takes of the training rows: this share, and no more than so many rows. */
const cutShare = 0.15;
const mostCutRows = 1000;

/** Names under which the splits stand in a folder. */
const splitNames: Record<SplitName, string[]> = {
  train: ["train"],
  validation: ["validation", "dev", "valid", "val"],
  test: ["test"],
};

/**
 * Reads a task from files of the user's own.
 *
 * What is missing is cut: a test set from the validation rows (their halves, as in the paper), both or a validation
 * set from the training rows (15 % each, at most 1000 rows). Classes keep their proportions.
 */
export async function loadOwnTask(options: LoadTaskOptions): Promise<TaskData> {
  const paths = await findFiles(options);
  const notes: string[] = [];
  const skipBadRows = options.skipBadRows ?? false;

  const trainTable = await readTable(paths.train, { skipBadRows });
  const columns = chooseColumns(trainTable, options, true);
  const names = {
    text: trainTable.columns[columns.text],
    pair: columns.pair === null ? undefined : trainTable.columns[columns.pair],
    label: trainTable.columns[columns.label as number],
  };
  const texts = trainTable.rows.flatMap(({ values }) => labelText(values[columns.label as number]) ?? []);
  if (texts.length === 0) throw new DataError(`${paths.train} has no labels in column '${names.label}'`);
  const scheme = guessScheme(texts);
  const all = toExamples(trainTable, columns, scheme);
  if (scheme.problem === "classification") {
    checkClasses(paths.train, scheme.labels, countClasses(all, scheme.labels.length));
  }
  notes.push(...columns.notes, `${paths.train}: taken for ${scheme.problem}, because ${scheme.reason}`);
  notes.push(...trainTable.notes, ...trainTable.badRows.notes());

  const readMore = async (path: string | null): Promise<Part | null> => {
    if (path === null) return null;
    const table = await readTable(path, { skipBadRows });
    const examples = toExamples(table, chooseColumns(table, names, true), scheme);
    if (examples.length === 0) throw new DataError(`${path} holds no usable row`);
    notes.push(...table.notes, ...table.badRows.notes());
    return wholeOf(path, examples);
  };
  const given = {
    train: wholeOf(paths.train, all),
    validation: await readMore(paths.validation),
    test: await readMore(paths.test),
  };

  const parts = cutMissing(given, scheme, options, notes);
  notes.push(...sharedTexts(parts));
  if (options.trainRows !== undefined) parts.train = subset(parts.train, scheme, options.trainRows, notes);
  return {
    task: {
      name: nameOf(options.data),
      problem: scheme.problem,
      labels: scheme.labels,
      pairs: columns.pair !== null,
      metric: scheme.problem === "classification" ? "accuracy" : "spearman",
    },
    train: parts.train.examples,
    validation: parts.validation.examples,
    test: parts.test.examples,
    sources: { train: sourceOf(parts.train), validation: sourceOf(parts.validation), test: sourceOf(parts.test) },
    files: [paths.train, paths.validation, paths.test].filter((path) => path !== null),
    notes,
  };
}

interface Files {
  train: string;
  validation: string | null;
  test: string | null;
}

async function findFiles({ data, validation, test }: LoadTaskOptions): Promise<Files> {
  const root = resolve(data);
  const isFolder = (await stat(root).catch(() => null))?.isDirectory() === true;
  const found = isFolder ? await findInFolder(root) : { train: root, validation: null, test: null };
  return {
    train: found.train,
    validation: validation === undefined ? found.validation : resolve(validation),
    test: test === undefined ? found.test : resolve(test),
  };
}

async function findInFolder(folder: string): Promise<Files> {
  const entries = (await readdir(folder)).sort();
  const find = (split: SplitName): string | null => {
    const matches = entries.filter((entry) => {
      const extension = extname(entry);
      return splitNames[split].includes(basename(entry, extension)) && tableExtensions.includes(extension);
    });
    if (matches.length > 1) {
      throw new DataError(`${folder} holds more than one ${split} file: ${matches.join(", ")}`, {
        hint: "Name the files one by one (--data, --validation, --test).",
      });
    }
    return matches[0] === undefined ? null : join(folder, matches[0]);
  };
  const train = find("train");
  if (train === null) {
    throw new DataError(`${folder} is a directory without a training file`, {
      hint: `Give a file, a folder that holds train${tableExtensions.join(", train")}, or a GLUE task by --task.`,
    });
  }
  return { train, validation: find("validation"), test: find("test") };
}

function cutMissing(
  { train, validation, test }: { train: Part; validation: Part | null; test: Part | null },
  scheme: LabelScheme,
  options: LoadTaskOptions,
  notes: string[],
): Record<SplitName, Part> {
  // Scores have no classes to keep in proportion: their rows are one group.
  const classesOf = ({ examples }: Part) =>
    scheme.problem === "classification" ? labelsOf(examples) : examples.map(() => 0);
  const full = options.evaluateOn === "full";

  if (validation !== null) {
    if (test !== null || full) return { train, validation, test: test ?? validation };
    const rows = halves(classesOf(validation), options.seed);
    const sizes = `${rows.validation.length} rows for validation and ${rows.test.length} for test`;
    if (rows.validation.length === 0) throw tooFew(validation, "validation and test rows");
    notes.push(`${validation.path}: cut into halves, ${sizes}`);
    return { train, validation: partOf(validation, rows.validation), test: partOf(validation, rows.test) };
  }

  const share = Math.min(cutShare, mostCutRows / train.examples.length);
  const shares = { validation: share, test: test === null && !full ? share : 0 };
  const rows = cut(groupByLabel(classesOf(train)), shares, options.seed);
  if (rows.validation.length === 0) throw tooFew(train, "training, validation and test rows");
  const testRows = rows.test.length > 0 ? ` and ${rows.test.length} for test` : "";
  notes.push(`${train.path}: ${rows.validation.length} rows are set apart for validation${testRows}`);
  const cutValidation = partOf(train, rows.validation);
  const cutTest = rows.test.length > 0 ? partOf(train, rows.test) : cutValidation;
  return { train: partOf(train, rows.train), validation: cutValidation, test: test ?? cutTest };
}

/** Rows that stand in training and evaluation alike make scores look better than they are. */
function sharedTexts({ train, validation, test }: Record<SplitName, Part>): string[] {
  const keyOf = ({ text, pair }: Example) => JSON.stringify([text, pair]);
  const known = new Set(train.examples.map(keyOf));
  const evaluated = new Set([...validation.examples, ...test.examples]);
  const shared = [...evaluated].filter((example) => known.has(keyOf(example))).length;
  if (shared === 0) return [];
  return [
    `${shared} of the ${evaluated.size} rows for validation and test repeat a text of the training rows, so scores may be too high`,
  ];
}

function tooFew({ path }: Part, parts: string): DataError {
  return new DataError(`${path} has too few rows to be cut into ${parts}`, {
    hint: "A class needs three rows to be cut; or give files of your own by --validation and --test.",
  });
}

function subset(train: Part, scheme: LabelScheme, trainRows: number, notes: string[]): Part {
  const { examples, path } = train;
  checkTrainRows(trainRows, path, examples.length, scheme.labels.length);
  if (scheme.problem === "regression") return partOf(train, regressionSubset(examples.length, trainRows));
  const part = partOf(train, balancedSubset(labelsOf(examples), trainRows));
  notes.push(...fewerRows(path, part.examples.length, trainRows, scheme.labels.length));
  return part;
}

/** The name of the file or folder, without an ending that says the format. */
function nameOf(data: string): string {
  const extension = extname(data);
  return basename(resolve(data), tableExtensions.includes(extension) ? extension : "");
}
