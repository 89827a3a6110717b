import type { ResolvedConfig } from "../config/schema.js";
import type { EncodedSplit } from "../data/encoded.js";
import type { TaskData } from "../data/task.js";
import type { ModelConfig } from "../models/config.js";
import type { Session } from "../native/session.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { RunEvent } from "./events.js";

/**
 * Everything that trials with the same model, data and engine settings share: made once per process, then `train`
 * runs any number of trials on it, one after the other. The session holds the untouched weights as snapshot "base".
 */
export interface Prepared extends AsyncDisposable {
  /** Equal for two configs exactly when one `Prepared` serves both. */
  readonly key: string;
  readonly session: Session;
  readonly model: { readonly source: string; readonly folder: string; readonly config: ModelConfig };
  readonly tokenizer: Tokenizer;
  readonly data: TaskData;
  /** `test` is the same object as `validation` where the data set has one half for both. */
  readonly encoded: { readonly train: EncodedSplit; readonly validation: EncodedSplit; readonly test: EncodedSplit };
  /** Parameters that the checkpoint lacks (a head): each trial draws them from its own `initSeed`. */
  readonly initialised: readonly string[];
  dispose(): Promise<void>;
}

export interface PrepareOptions {
  signal?: AbortSignal;
  onEvent?: (event: RunEvent) => void;
}

export declare function prepare(config: ResolvedConfig, options?: PrepareOptions): Promise<Prepared>;

/** The `key` of the `Prepared` that this config needs, without making it. */
export declare function preparedKey(config: ResolvedConfig): string;
