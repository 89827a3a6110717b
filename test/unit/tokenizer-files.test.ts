import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { ConfigError, TokenizerError } from "#src/errors.js";
import { loadTokenizer, type Tokenizer } from "#src/tokenizer/tokenizer.js";
import test, { type ExecutionContext } from "ava";

import { bertTokenizerJson, folderWith, tokenizerKind, vocabularyPath } from "../helpers/tokenizer-folder.js";

const smallVocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "Hello", "##s", "é", "e", ""].join(
  "\n",
);

test("a folder without a tokenizer is refused with the names that were looked for", async (t) => {
  const folder = await folderWith(t, { "tokenizer_config.json": {} });
  const error = await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, code: "ERR_TOKENIZER" });
  t.is(
    error.message,
    `no tokenizer in ${folder}: looked for tokenizer.json, vocab.txt, and vocab.json with merges.txt`,
  );
  await t.throwsAsync(loadTokenizer(join(folder, "nowhere")), { message: /no tokenizer in .*nowhere/ });
});

test("a tokenizer of another kind is refused by its name", async (t) => {
  const json = { ...(await bertTokenizerJson()), model: { type: "WordLevel", vocab: {}, unk_token: "[UNK]" } };
  const folder = await folderWith(t, { "tokenizer.json": json });
  await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message: /holds a WordLevel tokenizer/ });
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
  "another normalizer": [{ normalizer: { type: "Other" } }, /normalizer is a Other, which is not supported/],
  "another pre-tokenizer": [{ pre_tokenizer: { type: "Whitespace" } }, /pre_tokenizer is a Whitespace, which is not/],
  "a pattern of another engine": [
    { normalizer: { type: "Replace", pattern: { Regex: "\\s+" }, content: " " } },
    /normalizer has the pattern "\\\\s\+", which is not supported/,
  ],
  "a charsmap that is none": [
    { normalizer: { type: "Precompiled", precompiled_charsmap: "AAAA" } },
    /precompiled_charsmap is not a table of SentencePiece/,
  ],
  "merges that drop out at random": [
    { model: { type: "BPE", vocab: { a: 0 }, merges: [], dropout: 0.1 } },
    /model\.dropout must be equal to one of the allowed values/,
  ],
  "a merge of unknown tokens": [
    { model: { type: "BPE", vocab: { a: 0 }, merges: ["a b"] } },
    /the token "b" is not in the vocabulary/,
  ],
  "a merge of three": [
    { model: { type: "BPE", vocab: { a: 0 }, merges: ["a a a"] } },
    /the merge "a a a" is not two tokens/,
  ],
  "an unknown token beyond the vocabulary": [
    { model: { type: "Unigram", vocab: [["a", 0]], unk_id: 1 } },
    /model\.unk_id 1 is not in model\.vocab/,
  ],
  "no post-processor": [{ post_processor: null }, /post_processor must be object/],
  "a template without its special tokens": [
    {
      post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "[CLS]", type_id: 0 } }], pair: [] },
    },
    /special_tokens lacks \[CLS\]/,
  ],
  "two templates": [
    {
      post_processor: {
        type: "Sequence",
        processors: Array.from({ length: 2 }, () => ({ type: "BertProcessing", cls: ["a", 0], sep: ["b", 1] })),
      },
    },
    /post_processor is not one template of special tokens/,
  ],
};

for (const [what, [change, message]] of Object.entries(unsupported)) {
  test(`a tokenizer.json with ${what} is refused`, async (t) => {
    const folder = await folderWith(t, { "tokenizer.json": { ...(await bertTokenizerJson()), ...change } });
    await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message });
  });
}

for (const name of ["spiece.model", "sentencepiece.bpe.model"]) {
  test(`a folder with ${name} only is refused with the way to a tokenizer.json`, async (t) => {
    const folder = await folderWith(t, { [name]: Uint8Array.of(0xff, 0xfe) });
    const error = await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError });
    t.is(error.message, `${folder} has its tokenizer as ${name} only, which is not read`);
    t.regex(error.hint ?? "", /AutoTokenizer.*save_pretrained/);
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

async function roberta(t: ExecutionContext, files: Record<string, object> = {}): Promise<Tokenizer> {
  const own: Record<string, Uint8Array> = {};
  for (const name of ["vocab.json", "merges.txt"])
    own[name] = await readFile(join(tokenizerKind("roberta-files"), name));
  return loadTokenizer(await folderWith(t, { ...own, ...files }));
}

test("vocab.json and merges.txt need each other", async (t) => {
  const folder = await folderWith(t, { "vocab.json": { a: 0 } });
  await t.throwsAsync(loadTokenizer(folder), { message: /no tokenizer in .*vocab\.json with merges\.txt/ });
});

test("vocab.json with merges.txt of another kind of tokenizer is refused by its class", async (t) => {
  const config = { "tokenizer_config.json": { tokenizer_class: "GPT2TokenizerFast" } };
  await t.throwsAsync(roberta(t, config), { instanceOf: TokenizerError, message: /belongs to a GPT2Tokenizer/ });
});

test("a vocab.json without its special tokens, or with ids that are none, is refused", async (t) => {
  const merges = "#version: 0.2\n";
  const lacking = await folderWith(t, { "vocab.json": { a: 0 }, "merges.txt": merges });
  await t.throwsAsync(loadTokenizer(lacking), { message: /vocab\.json lacks the special token <s>/ });
  const odd = await folderWith(t, { "vocab.json": { a: -1 }, "merges.txt": merges });
  await t.throwsAsync(loadTokenizer(odd), { message: /the id of "a" must be a whole number, not -1/ });
});

// The values below are transformers 5.23's for these files.
test("vocab.json with merges.txt: added_tokens.json, special_tokens_map.json and tokenizer_config.json count", async (t) => {
  const text = "a cat <new> <mask> Hi";
  t.deepEqual(
    (await roberta(t)).encode(text, null, 64).tokenIds,
    [0, 69, 385, 225, 32, 278, 91, 34, 225, 4, 225, 44, 77, 2],
  );
  const added = await roberta(t, { "added_tokens.json": { "<new>": 700 } });
  t.deepEqual(added.encode(text, null, 64).tokenIds, [0, 69, 385, 225, 700, 225, 4, 225, 44, 77, 2]);
  t.is(added.vocabularySize, 701);
  const mapped = await roberta(t, { "special_tokens_map.json": { mask_token: { content: "<mask>", lstrip: true } } });
  t.deepEqual(mapped.encode("a <mask> Hi", null, 64).tokenIds, [0, 69, 4, 225, 44, 77, 2]);
  const decoder = { "700": { content: "<new>", lstrip: true, rstrip: true, normalized: true, special: false } };
  const decoded = await roberta(t, { "tokenizer_config.json": { added_tokens_decoder: decoder } });
  t.deepEqual(decoded.encode(text, null, 64).tokenIds, [0, 69, 385, 700, 4, 225, 44, 77, 2]);
  const prefixed = await roberta(t, { "tokenizer_config.json": { add_prefix_space: true } });
  t.deepEqual(prefixed.encode("a cat", "a", 64).tokenIds, [0, 262, 385, 2, 2, 262, 2]);
});

test("tokenizer_config.json decides about the blank before the first word, unless the class is a bare one", async (t) => {
  const json = await readFile(join(tokenizerKind("roberta"), "tokenizer.json"));
  const first = async (config: object): Promise<number | undefined> => {
    const folder = await folderWith(t, { "tokenizer.json": json, "tokenizer_config.json": config });
    return (await loadTokenizer(folder)).encode("a", null, 8).tokenIds[1];
  };
  t.is(await first({}), 69);
  t.is(await first({ tokenizer_class: "RobertaTokenizer", add_prefix_space: true }), 262);
  t.is(await first({ tokenizer_class: "PreTrainedTokenizerFast", add_prefix_space: true }), 69);
});

test("an added token that must stand alone is found only there; one that strips takes white space along", async (t) => {
  const tokenizer = await loadTokenizer(tokenizerKind("bart"));
  // The values are those of tokenizers 0.23.3: 701 is "cat", 702 "<tag>".
  t.deepEqual(tokenizer.encode("cat cats", null, 16).tokenIds.filter((id) => id === 701).length, 1);
  t.deepEqual(tokenizer.encode("<s>  <tag> \n </s>", null, 16).tokenIds, [0, 0, 702, 2, 2]);
});

test("the tokenizer's own files are named, for a saved model to copy", async (t) => {
  const folder = await folderWith(t, {
    "vocab.txt": await readFile(vocabularyPath),
    "tokenizer.json": await bertTokenizerJson(),
    "tokenizer_config.json": {},
    "special_tokens_map.json": {},
    "vocab.json": {},
    "merges.txt": "",
    "spiece.model": Uint8Array.of(0xff),
    "config.json": {},
  });
  const { files, vocabularySize } = await loadTokenizer(folder);
  t.deepEqual(
    files,
    [
      "tokenizer.json",
      "vocab.txt",
      "vocab.json",
      "merges.txt",
      "tokenizer_config.json",
      "special_tokens_map.json",
      "spiece.model",
    ].map((name) => join(folder, name)),
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
