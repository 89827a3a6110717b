import type { BertTextSettings } from "./bert-text.js";
import type { AddedToken } from "./library.js";
import type { Template } from "./template.js";
import type { WordPiece } from "./word-piece.js";

/** Everything that decides the ids of a text, whichever files it was read from. */
export interface Pipeline {
  text: BertTextSettings;
  addedTokens: AddedToken[];
  model: WordPiece;
  template: Template;
}
