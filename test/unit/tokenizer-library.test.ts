import { join } from "node:path";

import { readModelConfig } from "#src/models/config.js";
import { saveModel } from "#src/models/save.js";
import { loadTokenizer } from "#src/tokenizer/tokenizer.js";
import test, { type ExecutionContext } from "ava";

import { goldenCheckpoint } from "../helpers/checkpoint.js";
import { oddTexts } from "../helpers/odd-texts.js";
import { pythonProgram } from "../helpers/python-program.js";
import { temporaryFolder } from "../helpers/temporary-folder.js";
import {
  bertTokenizerJson,
  copiedTokenizer,
  folderWith,
  tokenizerKind,
  tokenizerKinds,
} from "../helpers/tokenizer-folder.js";

// The promise: the ids are those of Hugging Face's `tokenizers`, asked here and now, on texts that no fixture holds.

interface Row {
  input_ids: number[];
  token_type_ids: number[];
}

interface Request {
  folder: string;
  texts: [text: string, pair: string | null, maxLength: number][];
  auto?: boolean;
}

const tokenizers = pythonProgram<Request, { rows: Row[] }>("token_ids.py");
test.after.always(tokenizers.stop);

async function sameIds(t: ExecutionContext, folder: string, special: string[]): Promise<void> {
  t.timeout(180_000);
  const all = oddTexts(600, 7, special);
  const texts = all
    .slice(0, 300)
    .map((text, i): [string, string | null, number] => [
      text,
      i % 2 === 0 ? null : all[300 + i]!,
      [8, 17, 64, 512][i % 4]!,
    ]);
  const answer = await tokenizers.ask(t, { folder, texts });
  if (answer === null) return;
  const tokenizer = await loadTokenizer(folder);
  t.is(answer.rows.length, 300);
  for (const [i, { input_ids: tokenIds, token_type_ids: segmentIds }] of answer.rows.entries()) {
    t.deepEqual(tokenizer.encode(...texts[i]!), { tokenIds, segmentIds }, JSON.stringify(texts[i]));
  }
}

const wordPieces: Record<string, object> = {
  "uncased WordPiece": {},
  "cased WordPiece": { lowercase: false },
};
for (const [kind, normalizer] of Object.entries(wordPieces)) {
  test.serial(`${kind}: the ids and segments of tokenizers`, async (t) => {
    const json = await bertTokenizerJson({ ...normalizer });
    await sameIds(t, await folderWith(t, { "tokenizer.json": json }), ["[CLS]", "[SEP]", "[MASK]", "[mask]"]);
  });
}

for (const kind of tokenizerKinds) {
  test.serial(`${kind}: the ids and segments of tokenizers`, async (t) => {
    await sameIds(t, tokenizerKind(kind), [
      "<s>",
      "</s>",
      "<mask>",
      " <mask>",
      "<sep>",
      "<cls>",
      "<tag>",
      "cat",
      "COVID-19",
    ]);
  });
}

test.serial("vocab.json with merges.txt: the ids and segments that transformers makes of the same files", async (t) => {
  const folder = await copiedTokenizer(t, "roberta-files");
  await sameIds(t, folder, ["<s>", "</s>", "<mask>", "<pad>", "<unk>"]);
});

test.serial("AutoTokenizer loads a saved model's folder and gives the same ids, in every kind", async (t) => {
  t.timeout(180_000);
  const config = await readModelConfig(goldenCheckpoint("bert-regression"));
  for (const kind of [...tokenizerKinds, "roberta-files"]) {
    const bare = { "tokenizer_config.json": { tokenizer_class: "PreTrainedTokenizerFast" } };
    const source = await copiedTokenizer(t, kind, kind === "roberta-files" ? {} : bare);
    const tokenizer = await loadTokenizer(source);
    const folder = join(temporaryFolder(t), "best");
    await saveModel(folder, {
      config,
      labels: [],
      problem: "regression",
      parameters: [],
      read: () => Promise.reject(new Error("there are no parameters")),
      dtype: "float32",
      tokenizerFiles: tokenizer.files,
    });
    const texts: [string, string | null, number][] = [
      ["The cat's parcel <mask> didn't arrive.", null, 64],
      ["Wo ist die Straße?", "日本語 – é", 16],
    ];
    const answer = await tokenizers.ask(t, { folder, texts, auto: true });
    if (answer === null) return;
    const ours = texts.map((text) => tokenizer.encode(...text));
    t.deepEqual(
      answer.rows.map(({ input_ids: tokenIds, token_type_ids: segmentIds }) => ({ tokenIds, segmentIds })),
      ours,
      kind,
    );
  }
});
