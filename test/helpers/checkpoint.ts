import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";
import { readSafetensors, writeSafetensors, type Tensor } from "#src/models/safetensors.js";
import { temporaryFolder } from "./temporary-folder.js";

const fixtures = fileURLToPath(new URL("../../test/fixtures", import.meta.url));

export const goldenCheckpoint = (name: string): string => join(fixtures, "golden", name);
export const modelFixture = (name: string): string => join(fixtures, "models", name);

/** A copy of golden/bert-classification whose tensors and config.json a test has changed. */
export async function changedCheckpoint(
  t: ExecutionContext,
  change: { tensors?: (tensors: Map<string, Tensor>) => void; config?: Record<string, unknown> },
): Promise<string> {
  const folder = temporaryFolder(t);
  const original = goldenCheckpoint("bert-classification");
  const { tensors, metadata } = await readSafetensors(join(original, "model.safetensors"));
  change.tensors?.(tensors);
  await writeSafetensors(join(folder, "model.safetensors"), tensors, metadata);
  if (change.config) {
    const config = JSON.parse(await readFile(join(original, "config.json"), "utf8")) as Record<string, unknown>;
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, ...change.config }));
  } else {
    await copyFile(join(original, "config.json"), join(folder, "config.json"));
  }
  return folder;
}

export function f32(values: readonly number[], shape: number[] = [values.length]): Tensor {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

/** A safetensors file around any header. */
export function safetensorsBytes(header: string | object, data = 0): Buffer {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(data)]);
}
