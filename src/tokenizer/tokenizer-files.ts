import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { TokenizerError } from "../errors.js";

/** What tells of a tokenizer that only SentencePiece itself reads. */
export const sentencePieceFiles = ["spiece.model", "sentencepiece.bpe.model"] as const;

/** All files that say something about a tokenizer, in the order in which they are looked for. */
export const tokenizerFileNames = [
  "tokenizer.json",
  "vocab.txt",
  "vocab.json",
  "merges.txt",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  ...sentencePieceFiles,
] as const;

export type TokenizerFileName = (typeof tokenizerFileNames)[number];

/** The tokenizer's files in a folder, read. */
export class TokenizerFiles {
  readonly root: string;
  readonly #contents: ReadonlyMap<TokenizerFileName, Buffer>;

  private constructor(root: string, contents: ReadonlyMap<TokenizerFileName, Buffer>) {
    this.root = root;
    this.#contents = contents;
  }

  static async read(root: string): Promise<TokenizerFiles> {
    const contents = new Map<TokenizerFileName, Buffer>();
    for (const name of tokenizerFileNames) {
      const content = await readIfThere(join(root, name));
      if (content !== null) contents.set(name, content);
    }
    return new TokenizerFiles(root, contents);
  }

  /** Absolute paths of those that are there. */
  get paths(): string[] {
    return [...this.#contents.keys()].map((name) => this.path(name));
  }

  path(name: TokenizerFileName): string {
    return join(this.root, name);
  }

  has(name: TokenizerFileName): boolean {
    return this.#contents.has(name);
  }

  /** "" where the file is not there. */
  text(name: TokenizerFileName): string {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(this.#contents.get(name));
    } catch (error) {
      throw new TokenizerError(`${this.path(name)} is not UTF-8 text`, { cause: error });
    }
  }

  json(name: TokenizerFileName): unknown {
    try {
      return JSON.parse(this.text(name));
    } catch (error) {
      if (error instanceof TokenizerError) throw error;
      throw new TokenizerError(
        `${this.path(name)} is not JSON: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    }
  }

  /** {} where the file is not there. */
  record(name: TokenizerFileName): Record<string, unknown> {
    if (!this.has(name)) return {};
    const value = this.json(name);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new TokenizerError(`${this.path(name)} must hold a JSON object`);
  }
}

/** The file's bytes, or null where there is no such file. */
async function readIfThere(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return null;
    throw new TokenizerError(`${path} cannot be read`, { cause: error });
  }
}
