import type { ResolvedConfig } from "../config/schema.js";
import { prepareSession, readInputs, type Prepared, type PrepareOptions } from "./prepare.js";
import { obtainTransfer } from "./transfer.js";

/**
 * Makes all that a run needs, and other runs of the same `preparedKey` can share: reads model and data, trains the
 * intermediate task where the config has one that is not trained yet, and loads the weights.
 *
 * @throws ConfigError, DataError, CheckpointError, TokenizerError, HubError or NativeError, as the cause is;
 *   DivergedError when the intermediate task diverged; AbortedError.
 */
export async function prepare(config: ResolvedConfig, options: PrepareOptions = {}): Promise<Prepared> {
  const inputs = await readInputs(config, options);
  const transfer = await obtainTransfer(config, options);
  return prepareSession(config, inputs, transfer, options);
}
