import type { TaskInfo } from "./task.js";

/** One of the eight GLUE tasks of the paper: what it is, and how its official files are laid out. */
export interface GlueTask extends TaskInfo {
  /** How the files spell the classes, in the order of `labels`; empty for regression. */
  written: string[];
  /** The folder of the official archive. */
  folder: string;
  trainFile: string;
  devFile: string;
  /** Columns of `train.tsv` in file order. */
  columns: string[];
  /** False where the official files start with data (CoLA). */
  header: boolean;
  textColumn: string;
  pairColumn: string | null;
  labelColumn: string;
  /**
   * The paper uses these only in the 1k version: validation comes from train and the whole dev set is the test set
   * (section 3 and Table 3). The other tasks have their dev set cut into halves.
   */
  large: boolean;
  /** The paper's majority baselines in percent (Table 3); those of QQP are accuracies, the others of the metric. */
  majority: { validation: number; test: number };
}

const binary = ["0", "1"];

const mnli: GlueTask = {
  name: "MNLI",
  problem: "classification",
  labels: ["contradiction", "entailment", "neutral"],
  written: ["contradiction", "entailment", "neutral"],
  pairs: true,
  metric: "accuracy",
  folder: "MNLI",
  trainFile: "train.tsv",
  devFile: "dev_matched.tsv",
  columns: [
    "index",
    "promptID",
    "pairID",
    "genre",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "label1",
    "gold_label",
  ],
  header: true,
  textColumn: "sentence1",
  pairColumn: "sentence2",
  labelColumn: "gold_label",
  large: true,
  majority: { validation: 33.3, test: 31.8 },
};

/**
 * Classes stand in the order of transformers' processors, which the paper's code uses: it decides the class index, and
 * for F1 which class is the positive one (index 1).
 */
export const glueTasks: readonly GlueTask[] = [
  {
    name: "RTE",
    problem: "classification",
    labels: ["entailment", "not_entailment"],
    written: ["entailment", "not_entailment"],
    pairs: true,
    metric: "accuracy",
    folder: "RTE",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: ["index", "sentence1", "sentence2", "label"],
    header: true,
    textColumn: "sentence1",
    pairColumn: "sentence2",
    labelColumn: "label",
    large: false,
    majority: { validation: 52.9, test: 52.5 },
  },
  {
    name: "MRPC",
    problem: "classification",
    labels: ["not_equivalent", "equivalent"],
    written: binary,
    pairs: true,
    metric: "f1",
    folder: "MRPC",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    header: true,
    textColumn: "#1 String",
    pairColumn: "#2 String",
    labelColumn: "Quality",
    large: false,
    majority: { validation: 81.3, test: 81.2 },
  },
  {
    name: "STS-B",
    problem: "regression",
    labels: [],
    written: [],
    pairs: true,
    metric: "spearman",
    folder: "STS-B",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: [
      "index",
      "genre",
      "filename",
      "year",
      "old_index",
      "source1",
      "source2",
      "sentence1",
      "sentence2",
      "score",
    ],
    header: true,
    textColumn: "sentence1",
    pairColumn: "sentence2",
    labelColumn: "score",
    large: false,
    majority: { validation: 0, test: 0 },
  },
  {
    name: "CoLA",
    problem: "classification",
    labels: ["unacceptable", "acceptable"],
    written: binary,
    pairs: false,
    metric: "matthews",
    folder: "CoLA",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: ["source", "label", "mark", "sentence"],
    header: false,
    textColumn: "sentence",
    pairColumn: null,
    labelColumn: "label",
    large: false,
    majority: { validation: 0, test: 0 },
  },
  {
    name: "SST-2",
    problem: "classification",
    labels: ["negative", "positive"],
    written: binary,
    pairs: false,
    metric: "accuracy",
    folder: "SST-2",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: ["sentence", "label"],
    header: true,
    textColumn: "sentence",
    pairColumn: null,
    labelColumn: "label",
    large: true,
    majority: { validation: 50, test: 49.1 },
  },
  {
    name: "QNLI",
    problem: "classification",
    labels: ["entailment", "not_entailment"],
    written: ["entailment", "not_entailment"],
    pairs: true,
    metric: "accuracy",
    folder: "QNLI",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: ["index", "question", "sentence", "label"],
    header: true,
    textColumn: "question",
    pairColumn: "sentence",
    labelColumn: "label",
    large: true,
    majority: { validation: 50, test: 50.5 },
  },
  {
    name: "QQP",
    problem: "classification",
    labels: ["not_duplicate", "duplicate"],
    written: binary,
    pairs: true,
    metric: "f1",
    folder: "QQP",
    trainFile: "train.tsv",
    devFile: "dev.tsv",
    columns: ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
    header: true,
    textColumn: "question1",
    pairColumn: "question2",
    labelColumn: "is_duplicate",
    large: true,
    majority: { validation: 50, test: 63.2 },
  },
  mnli,
  { ...mnli, name: "MNLI-MM", devFile: "dev_mismatched.tsv" },
];

/** The GLUE task of that name; case, hyphens and underscores do not count ("sst2", "STS_B"). */
export function findGlueTask(name: string): GlueTask | undefined {
  const wanted = spellingOf(name);
  return glueTasks.find((task) => spellingOf(task.name) === wanted);
}

function spellingOf(name: string): string {
  return name.toLowerCase().replaceAll(/[-_\s]/g, "");
}
