import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import type { OwnMethodConfig } from "#src/config/schema.js";
import { readSafetensors } from "#src/models/safetensors.js";
import { finetune } from "#src/training/finetune.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig, tinyModel } from "../helpers/tiny-run.js";

const guide = readFileSync(fileURLToPath(new URL("../../docs/methods.md", import.meta.url)), "utf8");
const blocks = [...guide.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code ?? "");

/** The example of the guide that begins with this file name, written as that file. */
function example(t: ExecutionContext, name: string): OwnMethodConfig["name"] {
  const code = blocks.find((block) => block.startsWith(`// ${name}:`));
  if (code === undefined) throw new Error(`docs/methods.md has no example ${name}`);
  const path: OwnMethodConfig["name"] = `${temporaryFolder(t)}/${name.replace(/js$/, "mjs")}` as `/${string}`;
  writeFileSync(path, code);
  return path;
}

async function weights(folder: string): Promise<Map<string, Buffer>> {
  const { tensors } = await readSafetensors(join(folder, "model.safetensors"));
  return new Map([...tensors].map(([name, { data }]) => [name, Buffer.from(data)]));
}

/** Weights before and after a few steps without LayerNorm's neighbors in the way: one step, so that rates show. */
async function trained(t: ExecutionContext, methods: OwnMethodConfig[], steps: number) {
  const folder = temporaryFolder(t);
  // Without warm-up the first step moves every weight by the learning rate, whatever the size of its gradient.
  const config = tinyConfig(folder, { steps, methods, optimizer: { learningRate: 1e-3, warmup: 0 } });
  await finetune(config).result;
  return { before: await weights(tinyModel(folder)), after: await weights(join(config.output, "best")) };
}

test("the guide's first example freezes the three embeddings and nothing else", async (t) => {
  const { before, after } = await trained(t, [{ name: example(t, "freeze-embeddings.js") }], 4);
  const still = [...after].filter(([name, values]) => before.get(name)?.equals(values)).map(([name]) => name);
  t.deepEqual(still.sort(), [
    "bert.embeddings.position_embeddings.weight",
    "bert.embeddings.token_type_embeddings.weight",
    "bert.embeddings.word_embeddings.weight",
  ]);
});

test("the guide's second example has LayerNorm learn as many times faster as its option says", async (t) => {
  const name = example(t, "layer-norm-rate.js");
  const { before, after } = await trained(t, [{ name, factor: 10 }], 1);
  const largestMove = (parameter: string) => {
    const [from, to] = [before, after].map((all) => {
      const bytes = all.get(parameter)!;
      return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    });
    return Math.max(...from!.map((value, i) => Math.abs(value - to![i]!)));
  };
  const norm = largestMove("bert.encoder.layer.1.output.LayerNorm.weight");
  const dense = largestMove("bert.encoder.layer.1.output.dense.weight");
  t.true(Math.abs(norm - 1e-2) < 1e-4, `${norm}`);
  t.true(Math.abs(dense - 1e-3) < 1e-5, `${dense}`);
});
