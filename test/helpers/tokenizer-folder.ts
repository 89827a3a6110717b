import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { ExecutionContext } from "ava";

/** The vocabulary of bert-base-uncased (Google BERT, Apache-2.0). */
export const vocabularyPath = "test/fixtures/vocab/bert-base-uncased-vocab.txt";

/** Kinds of tokenizer.json with a small one of the project's own (scripts/make-tokenizer-fixtures.py). */
export const tokenizerKinds = ["roberta", "bart", "xlnet", "xlm-roberta", "unigram-settings"] as const;

export function tokenizerKind(kind: string): string {
  return join("test/fixtures/tokenizer", kind);
}

/** A temporary folder with these files (objects are written as JSON), removed after the test. */
export async function folderWith(
  t: ExecutionContext,
  files: Record<string, string | Uint8Array | object>,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "steadytune-tokenizer-"));
  t.teardown(() => rm(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    const raw = typeof content === "string" || content instanceof Uint8Array;
    await writeFile(join(folder, name), raw ? content : JSON.stringify(content));
  }
  return folder;
}

/** A temporary folder with the files of one of the kinds above, and others. */
export async function copiedTokenizer(
  t: ExecutionContext,
  kind: string,
  others: Record<string, string | object> = {},
): Promise<string> {
  const folder = await folderWith(t, others);
  for (const name of await readdir(tokenizerKind(kind))) {
    if (name !== "reference.json") await copyFile(join(tokenizerKind(kind), name), join(folder, name));
  }
  return folder;
}

/** A tokenizer.json over the vocabulary above, as transformers would save it. */
export async function bertTokenizerJson(normalizer: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const tokens = (await readFile(vocabularyPath, "utf8")).trimEnd().split("\n");
  const special = (content: string): object => ({
    id: tokens.indexOf(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(special),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
      ...normalizer,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
      ],
      pair: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "[SEP]", type_id: 0 } },
        { Sequence: { id: "B", type_id: 1 } },
        { SpecialToken: { id: "[SEP]", type_id: 1 } },
      ],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [101], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [102], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  };
}
