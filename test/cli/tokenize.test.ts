import { copyFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";
import { steadytune } from "../helpers/cli.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import { tokenizerKind, tokenizerKinds, vocabularyPath } from "../helpers/tokenizer-folder.js";
import type { ExecutionContext } from "ava";

function bertFolder(t: ExecutionContext): string {
  const folder = temporaryFolder(t);
  copyFileSync(vocabularyPath, join(folder, "vocab.txt"));
  return folder;
}

const lines = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);

test("each line of input has its line of output, in order", async (t) => {
  const input = '{"text": "hello"}\n{"text": "hello", "pair": "world"}\r\n{"text": "hello world", "pair": null}';
  const { code, stdout, stderr } = await steadytune(["tokenize", "--model", bertFolder(t)], { input });
  t.is(code, 0, stderr);
  t.deepEqual(lines(stdout), [
    { input_ids: [101, 7592, 102], token_type_ids: [0, 0, 0] },
    { input_ids: [101, 7592, 102, 2088, 102], token_type_ids: [0, 0, 0, 1, 1] },
    { input_ids: [101, 7592, 2088, 102], token_type_ids: [0, 0, 0, 0] },
  ]);
});

test("every kind of tokenizer is read", async (t) => {
  const input = '{"text": "The cat", "pair": "A parcel"}';
  for (const kind of [...tokenizerKinds, "roberta-files"]) {
    const { code, stdout, stderr } = await steadytune(["tokenize", "--model", tokenizerKind(kind)], { input });
    t.is(code, 0, stderr);
    const { tokenIds, segmentIds } = (await loadTokenizer(tokenizerKind(kind))).encode("The cat", "A parcel", 128);
    t.deepEqual(lines(stdout), [{ input_ids: tokenIds, token_type_ids: segmentIds }]);
  }
});

test("texts are cut to --max-length", async (t) => {
  const input = '{"text": "hello world hello world"}';
  const { stdout } = await steadytune(["tokenize", "--model", bertFolder(t), "--max-length", "4"], { input });
  t.deepEqual(lines(stdout), [{ input_ids: [101, 7592, 2088, 102], token_type_ids: [0, 0, 0, 0] }]);
});

test("only line feeds end a line: U+2028 may stand in a JSON string", async (t) => {
  const input = '{"text": "hello\u2028world"}\n';
  const { code, stdout } = await steadytune(["tokenize", "--model", bertFolder(t)], { input });
  t.is(code, 0);
  t.is(lines(stdout).length, 1);
});

test("no input is no output", async (t) => {
  t.like(await steadytune(["tokenize", "--model", bertFolder(t)]), { code: 0, stdout: "", stderr: "" });
});

test("a line that is no JSON, or not UTF-8, is refused with its number", async (t) => {
  const model = bertFolder(t);
  const broken = await steadytune(["tokenize", "--model", model], { input: '{"text": "a"}\nnot json\n' });
  t.is(broken.code, 1);
  t.regex(broken.stderr, /^error: standard input, line 2 is not JSON\nhint: /);
  t.is(lines(broken.stdout).length, 1);
  const bytes = Buffer.concat([
    Buffer.from('{"text": "a"}\n{"text": "'),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('"}\n'),
  ]);
  const invalid = await steadytune(["tokenize", "--model", model], { input: bytes });
  t.is(invalid.code, 1);
  t.regex(invalid.stderr, /^error: standard input is not valid UTF-8/);
});

test("the engine is not needed", async (t) => {
  const env = { LIBTORCH: "/nowhere" };
  const { code } = await steadytune(["tokenize", "--model", bertFolder(t)], { input: '{"text": "a"}', env });
  t.is(code, 0);
});

test("a model without a tokenizer is refused", async (t) => {
  const { code, stderr } = await steadytune(["tokenize", "--model", temporaryFolder(t)]);
  t.is(code, 1);
  t.regex(stderr, /^error: .*tokenizer\.json/);
});
