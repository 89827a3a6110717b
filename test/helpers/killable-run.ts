import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ResolvedConfig } from "#src/config/schema.js";
import { prepare } from "#src/training/prepare-run.js";
import { train } from "#src/training/train.js";

/**
 * A program: trains the config given as its first argument, writes a line per step to stdout, and leaves hashes of the
 * session's buffers in `buffers.json` of the run's folder when it was the one to end the run. Its parent kills it at will.
 */
const config = JSON.parse(process.argv[2] ?? "") as ResolvedConfig;
await using prepared = await prepare(config);
let ended = false;
await train(prepared, config, config.output, {
  onEvent: (event) => {
    if (event.type === "step") process.stdout.write(`${event.step}\n`);
    if (event.type === "end") ended = true;
  },
});
if (ended) {
  const hashes: Record<string, string> = {};
  for (const buffer of ["parameters", "moment1", "moment2"] as const) {
    const values = await prepared.session.readBuffer(buffer);
    hashes[buffer] = createHash("sha256").update(values).digest("hex");
  }
  writeFileSync(join(config.output, "buffers.json"), JSON.stringify(hashes));
}
