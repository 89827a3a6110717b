import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { ConfigError, TokenizerError } from "#src/errors.js";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";
import test from "ava";

import { bertTokenizerJson, folderWith, vocabularyPath } from "../helpers/tokenizer-folder.js";

const smallVocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "Hello", "##s", "é", "e", ""].join(
  "\n",
);

test("a folder without a tokenizer is refused with the names that were looked for", async (t) => {
  const folder = await folderWith(t, { "tokenizer_config.json": {} });
  const error = await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, code: "ERR_TOKENIZER" });
  t.is(error.message, `no tokenizer in ${folder}: looked for tokenizer.json and vocab.txt`);
  await t.throwsAsync(loadTokenizer(join(folder, "nowhere")), { message: /no tokenizer in .*nowhere/ });
});

test("a tokenizer of another kind is refused by its name", async (t) => {
  const json = { ...(await bertTokenizerJson()), model: { type: "BPE", vocab: {}, merges: [] } };
  const folder = await folderWith(t, { "tokenizer.json": json });
  await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message: /holds a BPE tokenizer/ });
});

const broken: Record<string, [file: string | Uint8Array | object, message: RegExp]> = {
  "is not JSON": ["{", /tokenizer\.json is not JSON/],
  "is empty": ["", /tokenizer\.json is not JSON/],
  "is not UTF-8": [Uint8Array.of(0x7b, 0xff, 0x7d), /tokenizer\.json is not UTF-8 text/],
  "is a list": [[], /tokenizer\.json: the file must be object/],
  "has no model": [{ normalizer: {}, pre_tokenizer: {}, post_processor: {} }, /must have required property 'model'/],
};

for (const [what, [content, message]] of Object.entries(broken)) {
  test(`a tokenizer.json that ${what} is refused`, async (t) => {
    const folder = await folderWith(t, { "tokenizer.json": content });
    await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message });
  });
}

const unsupported: Record<string, [change: object, message: RegExp]> = {
  "an id that is no number": [{ model: { type: "WordPiece", vocab: { a: "0" } } }, /model\.vocab\.a must be integer/],
  "no unknown token": [
    { model: { type: "WordPiece", vocab: { a: 0 } } },
    /unknown token \[UNK\] is not in model\.vocab/,
  ],
  "another normalizer": [{ normalizer: { type: "NFC" } }, /normalizer\.type must be equal to constant/],
  "another pre-tokenizer": [{ pre_tokenizer: { type: "Whitespace" } }, /pre_tokenizer\.type must be equal to constant/],
  "no post-processor": [{ post_processor: null }, /post_processor must be object/],
  "a template without its special tokens": [
    {
      post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "[CLS]", type_id: 0 } }], pair: [] },
    },
    /special_tokens lacks \[CLS\]/,
  ],
  "an added token that must stand alone": [
    { added_tokens: [{ id: 5, content: "x", single_word: true }] },
    /added_tokens\.0\.single_word must be equal to constant/,
  ],
};

for (const [what, [change, message]] of Object.entries(unsupported)) {
  test(`a tokenizer.json with ${what} is refused`, async (t) => {
    const folder = await folderWith(t, { "tokenizer.json": { ...(await bertTokenizerJson()), ...change } });
    await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message });
  });
}

test("a vocab.txt without its special tokens is refused by the token's name", async (t) => {
  const folder = await folderWith(t, { "vocab.txt": "[PAD]\n[UNK]\nhello\n" });
  await t.throwsAsync(loadTokenizer(folder), {
    instanceOf: TokenizerError,
    message: /lacks the special token \[CLS\]/,
  });
});

test("added_tokens.json beside vocab.txt is refused rather than ignored", async (t) => {
  const folder = await folderWith(t, { "vocab.txt": smallVocabulary, "added_tokens.json": { new: 30522 } });
  await t.throwsAsync(loadTokenizer(folder), {
    instanceOf: TokenizerError,
    message: /added_tokens\.json beside vocab/,
  });
});

test("a setting of the wrong type is refused by its key", async (t) => {
  const folder = await folderWith(t, {
    "vocab.txt": smallVocabulary,
    "tokenizer_config.json": { do_lower_case: "yes" },
  });
  await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message: /do_lower_case must be true/ });
});

test("a vocab.txt is lower-cased unless tokenizer_config.json says otherwise", async (t) => {
  const uncased = await loadTokenizer(await folderWith(t, { "vocab.txt": smallVocabulary }));
  t.deepEqual(uncased.encode("Hellos é", null, 8).tokenIds, [2, 5, 7, 9, 3]);
  const cased = await loadTokenizer(
    await folderWith(t, { "vocab.txt": smallVocabulary, "tokenizer_config.json": { do_lower_case: false } }),
  );
  t.deepEqual(cased.encode("Hellos é", null, 8).tokenIds, [2, 6, 7, 8, 3]);
});

test("a vocab.txt with Windows line ends gives the same ids", async (t) => {
  const folder = await folderWith(t, { "vocab.txt": smallVocabulary.replaceAll("\n", "\r\n") });
  const tokenizer = await loadTokenizer(folder);
  t.deepEqual(tokenizer.encode("hello", null, 8).tokenIds, [2, 5, 3]);
  t.is(tokenizer.vocabularySize, 10);
});

test("special tokens are the ones that tokenizer_config.json names", async (t) => {
  const folder = await folderWith(t, {
    "vocab.txt": "<pad>\n<unk>\n<s>\n</s>\n<mask>\nhello\n<x>\n",
    "tokenizer_config.json": {
      unk_token: "<unk>",
      cls_token: { content: "<s>", lstrip: false },
      sep_token: "</s>",
      pad_token: "<pad>",
      mask_token: "<mask>",
      additional_special_tokens: ["<x>"],
    },
  });
  const tokenizer = await loadTokenizer(folder);
  t.deepEqual(tokenizer.encode("hello<x> other", "hello", 16), {
    tokenIds: [2, 5, 6, 1, 3, 5, 3],
    segmentIds: [0, 0, 0, 0, 0, 1, 1],
  });
});

test("what tokenizer_config.json says about case prevails over tokenizer.json, as in transformers", async (t) => {
  const files = { "tokenizer.json": await bertTokenizerJson({ lowercase: true }) };
  const config = { tokenizer_class: "BertTokenizer", do_lower_case: false };
  const cased = await loadTokenizer(await folderWith(t, { ...files, "tokenizer_config.json": config }));
  // The values are transformers 5.23's for these files.
  t.deepEqual(cased.encode("Hello héllo 日本", null, 16).tokenIds, [101, 100, 100, 1864, 1876, 102]);
  const generic = await loadTokenizer(
    await folderWith(t, {
      ...files,
      "tokenizer_config.json": { ...config, tokenizer_class: "PreTrainedTokenizerFast" },
    }),
  );
  t.deepEqual(generic.encode("Hello héllo 日本", null, 16).tokenIds, [101, 7592, 7592, 1864, 1876, 102]);
});

test("truncation and padding inside tokenizer.json are ignored", async (t) => {
  const json = {
    ...(await bertTokenizerJson()),
    truncation: { max_length: 4, strategy: "LongestFirst", stride: 0, direction: "Right" },
    padding: { strategy: { Fixed: 64 }, direction: "Right", pad_id: 0, pad_type_id: 0, pad_token: "[PAD]" },
  };
  const tokenizer = await loadTokenizer(await folderWith(t, { "tokenizer.json": json }));
  t.deepEqual(tokenizer.encode("a b c d e f", null, 32).tokenIds, [101, 1037, 1038, 1039, 1040, 1041, 1042, 102]);
});

test("BertProcessing, as old files have it, makes the same rows as a template", async (t) => {
  const json = {
    ...(await bertTokenizerJson()),
    post_processor: { type: "BertProcessing", sep: ["[SEP]", 102], cls: ["[CLS]", 101] },
  };
  const tokenizer = await loadTokenizer(await folderWith(t, { "tokenizer.json": json }));
  t.deepEqual(tokenizer.encode("a", "b", 32), { tokenIds: [101, 1037, 102, 1038, 102], segmentIds: [0, 0, 0, 1, 1] });
});

test("added words are found before the text is cut into words, and count in the vocabulary's size", async (t) => {
  const json = await bertTokenizerJson();
  const added = [
    {
      id: 30522,
      content: "COVID-19",
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: true,
      special: false,
    },
    {
      id: 30523,
      content: "<user>",
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    },
  ];
  const tokenizer = await loadTokenizer(
    await folderWith(t, {
      "tokenizer.json": { ...json, added_tokens: [...(json["added_tokens"] as object[]), ...added] },
    }),
  );
  // The values are those of tokenizers 0.23.3.
  t.deepEqual(
    tokenizer.encode("Covid-19 a<user>b<user><USER>", null, 32).tokenIds,
    [101, 30522, 1037, 30523, 1038, 30523, 1026, 5310, 1028, 102],
  );
  t.is(tokenizer.vocabularySize, 30524);
});

test("the tokenizer's own files are named, for a saved model to copy", async (t) => {
  const folder = await folderWith(t, {
    "vocab.txt": await readFile(vocabularyPath),
    "tokenizer.json": await bertTokenizerJson(),
    "tokenizer_config.json": {},
    "special_tokens_map.json": {},
    "config.json": {},
  });
  const { files, vocabularySize } = await loadTokenizer(folder);
  t.deepEqual(
    files,
    ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"].map((name) =>
      join(folder, name),
    ),
  );
  t.is(vocabularySize, 30522);
});

test("a maxLength without room for the special tokens is refused", async (t) => {
  const tokenizer = await loadTokenizer(await folderWith(t, { "vocab.txt": smallVocabulary }));
  t.throws(() => tokenizer.encode("hello", null, 1), { instanceOf: ConfigError, message: /maxLength 1 is too short/ });
  t.throws(() => tokenizer.encode("hello", "e", 2), { instanceOf: ConfigError, message: /maxLength 2 is too short/ });
  t.throws(() => tokenizer.encode("hello", null, NaN), { instanceOf: ConfigError });
  t.deepEqual(tokenizer.encode("hello", null, 2).tokenIds, [2, 3]);
});
