import type { BertTextSettings } from "./bert-text.js";
import type { AddedToken, WordPiece } from "./library.js";
import type { Template } from "./template.js";

/** Everything that decides the ids of a text, whichever files it was read from. */
export interface Pipeline {
  text: BertTextSettings;
  addedTokens: AddedToken[];
  model: WordPiece;
  template: Template;
}
