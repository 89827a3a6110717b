import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CheckpointError } from "../errors.js";
import { parseStrictJson } from "./strict-json.js";
import type { TensorEntry, TensorFile } from "./tensor-file.js";

/**
 * Opens the files that an index (`model.safetensors.index.json`) names, as if they were one. Index and files must agree
 * on which tensor is where.
 *
 * @throws CheckpointError when a file is missing or damaged, or does not hold exactly the tensors that the index says.
 */
export async function openSharded(indexPath: string, open: (path: string) => Promise<TensorFile>): Promise<TensorFile> {
  const weightMap = await readWeightMap(indexPath);
  const shards = new Map<string, TensorFile>();
  const close = async (): Promise<void> => {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
  };
  try {
    for (const name of new Set(weightMap.values())) shards.set(name, await open(join(dirname(indexPath), name)));
    const tensors = new Map<string, TensorEntry>();
    for (const [name, shardName] of weightMap) {
      const entry = shards.get(shardName)?.tensors.get(name);
      if (!entry)
        throw new CheckpointError(`${indexPath} says that ${shardName} holds the tensor ${name}; it does not.`);
      tensors.set(name, entry);
    }
    for (const [shardName, shard] of shards) {
      for (const name of shard.tensors.keys()) {
        if (weightMap.get(name) === shardName) continue;
        throw new CheckpointError(`${shard.path} holds the tensor ${name}, which ${indexPath} does not say.`);
      }
    }
    return {
      path: indexPath,
      tensors,
      read: async (name) => {
        const shard = shards.get(weightMap.get(name) ?? "");
        if (!shard) throw new CheckpointError(`${indexPath} names no tensor ${name}.`);
        return shard.read(name);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The file of each tensor, by the tensor's name. */
export async function readWeightMap(indexPath: string): Promise<Map<string, string>> {
  let index: unknown;
  try {
    index = parseStrictJson(await readFile(indexPath, "utf8"));
  } catch (error) {
    throw new CheckpointError(`${indexPath} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  const map = typeof index === "object" && index !== null && "weight_map" in index ? index.weight_map : null;
  if (typeof map !== "object" || map === null || Array.isArray(map) || Object.keys(map).length === 0) {
    throw new CheckpointError(`${indexPath} has no weight_map from tensors to files.`);
  }
  const entries = Object.entries(map as Record<string, unknown>);
  for (const [name, file] of entries) {
    // A path could lead out of the model's folder.
    if (typeof file === "string" && /^[\w.-]*\w[\w.-]*$/.test(file)) continue;
    throw new CheckpointError(
      `${indexPath} gives ${JSON.stringify(file)} as the file of ${name}, which is no file name.`,
    );
  }
  return new Map(entries as [string, string][]);
}
