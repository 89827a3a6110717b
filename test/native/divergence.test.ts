import { join } from "node:path";
import test from "ava";
import { prepare } from "#src/training/prepare-run.js";
import { train } from "#src/training/train.js";
import { sameBits } from "../helpers/bits.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tinyConfig } from "../helpers/tiny-run.js";

// The promise: wherever a number goes bad, the run ends as diverged at the step that met it, and that step moved
// nothing. test/core/divergence_test.cpp does the same for every parameter, operator and family.

/** A parameter of each operator that a step goes through. */
const sites = [
  "embeddings.word.weight",
  "embeddings.position.weight",
  "embeddings.norm.weight",
  "blocks.0.attention.query.weight",
  "blocks.1.attention.key.bias",
  "blocks.1.attention.output.bias",
  "blocks.1.attention.norm.bias",
  "blocks.2.ffn.intermediate.weight",
  "blocks.3.ffn.output.bias",
  "blocks.3.ffn.norm.weight",
  "pooler.weight",
  "classifier.bias",
];
const badStep = 4;

for (const engine of ["fused", "reference"] as const) {
  for (const dtype of ["float32", "bfloat16"] as const) {
    test(`NaN and infinity at any operator end a run as diverged, with the step's number: ${engine}, ${dtype}`, async (t) => {
      const folder = temporaryFolder(t);
      const settings = { engine, dtype, steps: 6, evaluations: 1, keep: "none" } as const;
      await using prepared = await prepare(tinyConfig(folder, settings));
      const { session } = prepared;
      const step = session.train.bind(session);
      const buffers = ["parameters", "moment1", "moment2"] as const;
      const read = () => Promise.all(buffers.map((buffer) => session.readBuffer(buffer)));
      for (const [i, site] of sites.entries()) {
        const poison = i % 2 === 0 ? NaN : Infinity;
        let around: Promise<[Float32Array[], Float32Array[]]> | undefined;
        // All calls are queued before the first one is awaited, so nothing comes between them.
        session.train = (parts, options) => {
          if (options.step !== badStep) return step(parts, options);
          const { shape } = session.parameters.find(({ name }) => name === site)!;
          const values = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(poison);
          const loaded = session.load({ [site]: { dtype: "float32", data: new Uint8Array(values.buffer) } });
          const before = read();
          const result = step(parts, options);
          around = Promise.all([before, read()]);
          return loaded.then(() => result);
        };
        const name = `${site} = ${poison}`;
        const output = join(folder, String(i));
        const result = await train(prepared, tinyConfig(folder, { ...settings, output }), output);
        t.true(result.diverged, name);
        t.is(result.divergedAt, badStep, name);
        const [before, after] = await around!;
        t.true(
          before.every((values, buffer) => sameBits(values, after[buffer]!)),
          name,
        );
      }
    });
  }
}
