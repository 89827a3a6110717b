import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CheckpointError, ConfigError } from "../errors.js";
import { fetchModel, type HubOptions } from "./hub.js";

export interface ResolvedModel {
  /** An absolute path. */
  folder: string;
  /** Where the model came from, for people and for records: its path, or `org/name@commit`. */
  source: string;
  /** What a person should be told, a sentence each. */
  notes: string[];
}

/** People name the folder of a run where its checkpoint is meant. @throws CheckpointError that says where that is. */
async function refuseRunFolder(folder: string): Promise<void> {
  const exists = async (name: string) => (await stat(join(folder, name)).catch(() => null)) !== null;
  if (!(await exists("log.jsonl")) || (await exists("model.safetensors"))) return;
  const hint = (await exists("best"))
    ? `Name its checkpoint: ${join(folder, "best")}`
    : "It holds no checkpoint: the run has not ended, or was told to keep none.";
  throw new CheckpointError(`${folder} is the folder of a run, not of a model.`, { hint });
}

/**
 * Finds a model: a local folder, or one from the Hugging Face hub by `org/name` or `org/name@revision`. A folder comes
 * first when there is one of that name.
 *
 * @throws CheckpointError when a path leads nowhere, ConfigError for a name of neither kind, HubError as `fetchModel`.
 */
export async function resolveModel(
  nameOrPath: string,
  { revision, ...options }: HubOptions & { revision?: string | undefined } = {},
): Promise<ResolvedModel> {
  const status = await stat(nameOrPath).catch(() => null);
  if (status?.isDirectory()) {
    const folder = resolve(nameOrPath);
    await refuseRunFolder(nameOrPath);
    return { folder, source: folder, notes: [] };
  }
  if (status) {
    throw new CheckpointError(`${nameOrPath} is a file, not the folder of a model.`, {
      hint: "Give the folder that holds config.json and the weights.",
    });
  }
  const [name = "", stated] = nameOrPath.split(/@(.*)/s);
  if (/^[./~]/.test(name) || name.split("/").length > 2) {
    throw new CheckpointError(`The model folder ${nameOrPath} does not exist.`, {
      hint: "Give the path of a model's folder, or org/name for a model of the Hugging Face hub.",
    });
  }
  if (stated !== undefined && revision !== undefined && stated !== revision) {
    throw new ConfigError(`The model ${nameOrPath} and the revision "${revision}" contradict each other.`);
  }
  const { folder, commit, notes } = await fetchModel(name, stated ?? revision ?? "main", options);
  return { folder, source: `${name}@${commit}`, notes };
}
