/** steadytune: fine-tune BERT-class encoders on few examples, stably and reproducibly. See docs/api.md. */

export { finetune } from "./training/finetune.js";
export { train, type TrainOptions } from "./training/train.js";
export { prepare } from "./training/prepare-run.js";
export { preparedKey, type Prepared, type PrepareOptions } from "./training/prepare.js";
export { longerGrid } from "./training/longer.js";
export type { FinetuneRun } from "./training/run-stream.js";
export type { RunEvent } from "./training/events.js";
export type { CheckpointScores, RunResult, Scores, TransferOrigin, Versions } from "./training/result.js";

export {
  loadModel,
  type EvaluateOptions,
  type Evaluation,
  type LoadModelOptions,
  type Model,
  type PredictOptions,
  type TextInput,
} from "./training/model.js";
export type { ClassPrediction, Prediction, ScorePrediction } from "./training/predictions.js";

export { verify, type VerifyOptions } from "./verify/verify.js";
export type { Check, Skipped, VerifyReport } from "./verify/report.js";

export { parseStudy, readStudyFile, type Cell, type Study, type StudyChoice } from "./study/file.js";
export type { StudyFile } from "./study/schema.js";
export type { Manifest } from "./study/manifest.js";
export type { Trial } from "./study/plan.js";
export {
  planStudy,
  runPlanned,
  runStudy,
  type RunStudyOptions,
  type StudyEnd,
  type StudyEvent,
  type StudyOptions,
} from "./study/run.js";
export { readStatus, type StudyStatus } from "./study/status.js";
export { retryFailed } from "./study/retry.js";
export { addSeeds } from "./study/add-seeds.js";
export { writeReport, type Report } from "./report/write-report.js";

export { resolveConfig } from "./config/resolve.js";
export type {
  MethodConfig,
  MethodEntry,
  OwnMethodConfig,
  ResolvedConfig,
  RunConfig,
  TransferConfig,
} from "./config/schema.js";

export { change, type Method, type PlanChanges } from "./methods/method.js";
export { composePlan } from "./methods/plan.js";
export { freeze } from "./methods/freeze.js";
export { llrd } from "./methods/llrd.js";
export { mixout } from "./methods/mixout.js";
export { pretrainedWeightDecay } from "./methods/pretrained-weight-decay.js";
export { reinit } from "./methods/reinit.js";
export { weightDecay } from "./methods/weight-decay.js";
export type { Mixout, ParameterInfo, ParameterPlan, ParameterRole, Reset } from "./native/types.js";

export {
  AbortedError,
  CheckpointError,
  ConfigError,
  DataError,
  DivergedError,
  HubError,
  LockedError,
  NativeError,
  OutputError,
  SlurmError,
  StateError,
  SteadytuneError,
  TokenizerError,
  type ErrorCode,
} from "./errors.js";
