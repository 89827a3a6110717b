import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { readConfigFile } from "#src/config/file.js";
import { ConfigError } from "#src/errors.js";

/** A folder that holds these files; values that are no text are written as JSON. */
function folderOf(files: Record<string, unknown>): string {
  const folder = mkdtempSync(join(tmpdir(), "steadytune-config-"));
  mkdirSync(join(folder, "nested"));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

function refusal(path: string): ConfigError {
  try {
    readConfigFile(path);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error(`${path} was accepted`);
}

test("extends merges objects and replaces arrays", (t) => {
  const folder = folderOf({
    "base.json": {
      batchSize: 16,
      optimizer: { eps: 1e-6, warmup: 0.2 },
      methods: [
        { name: "llrd", decay: 0.9 },
        { name: "reinit", layers: 1 },
      ],
    },
    "mine.json": { extends: "./base.json", optimizer: { warmup: 0 }, methods: [{ name: "llrd", decay: 0.5 }] },
  });
  t.deepEqual(readConfigFile(join(folder, "mine.json")), {
    batchSize: 16,
    optimizer: { eps: 1e-6, warmup: 0 },
    methods: [{ name: "llrd", decay: 0.5 }],
  });
});

test("extends names files relative to the file that names them, and recipes by name", (t) => {
  const folder = folderOf({
    "base.json": { extends: "original-bert", seed: 1 },
    "nested/mine.json": { extends: ["../base.json", "./more.json"] },
    "nested/more.json": { seed: 2 },
  });
  const config = readConfigFile(join(folder, "nested/mine.json"));
  t.is(config.seed, 2);
  t.is(config.optimizer?.biasCorrection, false);
});

test("steps above epochs take their place, and a seed that of both seeds", (t) => {
  const folder = folderOf({
    "base.json": { epochs: 3, initSeed: 1, orderSeed: 2 },
    "mine.json": { extends: "./base.json", steps: 10, seed: 5 },
  });
  t.deepEqual(readConfigFile(join(folder, "mine.json")), { steps: 10, seed: 5 });
});

test("a file that extends itself is refused with the way round", (t) => {
  const folder = folderOf({ "a.json": { extends: "./b.json" }, "b.json": { extends: "./a.json" } });
  t.regex(
    refusal(join(folder, "a.json")).message,
    /a config extends itself: .*a\.json extends .*b\.json extends .*a\.json/,
  );
});

test("a wrong key is reported with the file that holds it", (t) => {
  const folder = folderOf({ "base.json": { batchSise: 3 }, "mine.json": { extends: "./base.json" } });
  const error = refusal(join(folder, "mine.json"));
  t.regex(error.message, /base\.json: unknown key "batchSise"$/);
  t.is(error.hint, 'did you mean "batchSize"?');
});

test("a file that is not JSON is reported with line and column", (t) => {
  const folder = folderOf({ "mine.json": '{\n  "seed": 1,\n}' });
  t.regex(refusal(join(folder, "mine.json")).message, /mine\.json is not JSON at line 3, column 1: /);
});

test("a file that is cut off is reported at its end", (t) => {
  const folder = folderOf({ "mine.json": '{\n  "seed": 1' });
  t.regex(refusal(join(folder, "mine.json")).message, /mine\.json is not JSON at line 2, column 12: /);
});

test("a byte order mark is not part of the config", (t) => {
  const folder = folderOf({ "mine.json": '\uFEFF{"seed": 1}' });
  t.deepEqual(readConfigFile(join(folder, "mine.json")), { seed: 1 });
});

test("a missing file and an unknown recipe are refused by name", (t) => {
  t.regex(refusal("./nowhere.json").message, /the config file nowhere\.json does not exist/);
  t.like(refusal("papers"), { message: 'there is no recipe "papers"', hint: 'did you mean "paper"?' });
});
