/** The tiny BERT before it has learned anything: its shape and its vocabulary. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { allWords } from "./grammar.mjs";

const special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const characters = [..."abcdefghijklmnopqrstuvwxyz0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"];

/** Single characters, alone and inside words, let it spell any English word that it does not know. */
function vocabulary() {
  const inside = characters.filter((character) => /[a-z0-9]/.test(character)).map((character) => `##${character}`);
  return [...new Set([...special, ...characters, ...inside, ...allWords()])];
}

/** Writes config.json and the tokenizer's files, without weights. */
export async function writeUntrainedModel(folder) {
  const tokens = vocabulary();
  const config = {
    architectures: ["BertForSequenceClassification"],
    model_type: "bert",
    vocab_size: tokens.length,
    hidden_size: 128,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    intermediate_size: 512,
    hidden_act: "gelu",
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    max_position_embeddings: 128,
    type_vocab_size: 2,
    initializer_range: 0.02,
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
  };
  const tokenizer = { tokenizer_class: "BertTokenizer", do_lower_case: true, model_max_length: 128 };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
  await writeFile(join(folder, "tokenizer_config.json"), `${JSON.stringify(tokenizer, null, 2)}\n`);
  await writeFile(join(folder, "vocab.txt"), tokens.map((token) => `${token}\n`).join(""));
}
