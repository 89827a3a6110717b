/** From a fine-tuned checkpoint to one that others start from: without its head, in BF16. */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "../../dist/models/safetensors.js";
import { toBfloat16 } from "../../dist/models/save.js";

export async function writeBody(from, to) {
  await mkdir(to, { recursive: true });
  const { tensors } = await readSafetensors(join(from, "model.safetensors"));
  const kept = new Map();
  for (const [name, { shape, data }] of tensors) {
    if (name.startsWith("classifier.")) continue;
    const rounded = toBfloat16(new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)));
    kept.set(name, { dtype: "BF16", shape, data: new Uint8Array(rounded.buffer) });
  }
  await writeSafetensors(join(to, "model.safetensors"), kept, { format: "pt" });

  const config = JSON.parse(await readFile(join(from, "config.json"), "utf8"));
  for (const key of ["id2label", "label2id", "num_labels", "problem_type"]) delete config[key];
  const body = { ...config, architectures: ["BertModel"], torch_dtype: "bfloat16" };
  await writeFile(join(to, "config.json"), `${JSON.stringify(body, null, 2)}\n`);
  for (const name of ["vocab.txt", "tokenizer_config.json"]) await copyFile(join(from, name), join(to, name));
}
