import { readModelConfig, type ModelConfig } from "../models/config.js";
import { loadWeights } from "../models/weights.js";
import { createSession, type Session } from "../native/session.js";
import type { ComputeDtype, Engine, SessionOptions } from "../native/types.js";

export interface ReferenceOptions {
  threads: number;
  engine: Engine;
  dtype: ComputeDtype;
  device: SessionOptions["device"];
}

export interface ReferenceSession extends AsyncDisposable {
  session: Session;
  config: ModelConfig;
}

/** A checkpoint of the bundle in a session, with the head that its config describes. */
export async function openReferenceSession(folder: string, options: ReferenceOptions): Promise<ReferenceSession> {
  const config = await readModelConfig(folder);
  const session = createSession(config.shape, options);
  try {
    await loadWeights(folder, config, session.parameters, (tensors) => session.load(tensors));
  } catch (error) {
    await session.dispose();
    throw error;
  }
  return { session, config, [Symbol.asyncDispose]: () => session.dispose() };
}
