/**
 * Every error that steadytune throws on purpose. `code` is stable and meant for programs; the message is one
 * sentence that names the file, line or key at fault; `hint` says what to do about it.
 */
export const errorCodes = [
  "ERR_PLATFORM",
  "ERR_LIBTORCH_NOT_FOUND",
  "ERR_LIBTORCH_VERSION",
  "ERR_ADDON",
  "ERR_CUDA_KERNELS",
  "ERR_CONFIG",
  "ERR_DATA",
  "ERR_CHECKPOINT",
  "ERR_TOKENIZER",
  "ERR_HUB",
  "ERR_OUTPUT",
  "ERR_STATE",
  "ERR_LOCKED",
  "ERR_SLURM",
  "ERR_OUT_OF_MEMORY",
  "ERR_DIVERGED",
  "ERR_ABORTED",
  "ERR_DISPOSED",
  "ERR_INTERNAL",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export interface ErrorDetails {
  /** What the reader can do about it, one sentence or a command. */
  hint?: string;
  cause?: unknown;
}

export class SteadytuneError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = details.hint;
  }
}

/** The command line, a config file or a call's arguments are wrong (exit code 2). */
export class ConfigError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_CONFIG", message, details);
  }
}

/** A data file does not hold what it should. */
export class DataError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_DATA", message, details);
  }
}

/** A model folder, its config or its weights cannot be used. */
export class CheckpointError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_CHECKPOINT", message, details);
  }
}

/** A tokenizer file is missing or of a kind that is not supported. */
export class TokenizerError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_TOKENIZER", message, details);
  }
}

/** The Hugging Face hub could not deliver a model. */
export class HubError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_HUB", message, details);
  }
}

/** libtorch or the compiled addon is missing, of another version, or does not load (exit code 3). */
export class NativeError extends SteadytuneError {
  constructor(
    code: "ERR_PLATFORM" | "ERR_LIBTORCH_NOT_FOUND" | "ERR_LIBTORCH_VERSION" | "ERR_ADDON" | "ERR_CUDA_KERNELS",
    message: string,
    details?: ErrorDetails,
  ) {
    super(code, message, details);
  }
}

/** A result cannot be written: the folder is not writable, the disk is full. */
export class OutputError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_OUTPUT", message, details);
  }
}

/** A state file is torn, foreign, or belongs to another config. */
export class StateError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_STATE", message, details);
  }
}

/** Another process is at work on the same run folder. */
export class LockedError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_LOCKED", message, details);
  }
}

/** Slurm is missing, does not answer, or refuses what it is asked for. */
export class SlurmError extends SteadytuneError {
  constructor(message: string, details?: ErrorDetails) {
    super("ERR_SLURM", message, details);
  }
}

/** Loss or gradients stopped being finite (exit code 4). */
export class DivergedError extends SteadytuneError {
  /** The first step, counted from 1, whose loss or gradient was not finite. */
  readonly step: number;

  constructor(message: string, step: number, details?: ErrorDetails) {
    super("ERR_DIVERGED", message, details);
    this.step = step;
  }
}

/** The caller's AbortSignal, or a signal to the process, stopped the work (exit code 130 or 143). */
export class AbortedError extends SteadytuneError {
  constructor(message = "the run was aborted", details?: ErrorDetails) {
    super("ERR_ABORTED", message, details);
  }
}
