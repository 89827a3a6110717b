import type { WordModel } from "./pipeline.js";

export interface Unigram {
  /** Each piece with the logarithm of its probability; its place is its id. */
  vocabulary: readonly (readonly [piece: string, score: number])[];
  unknownId: number;
}

/** How much less likely an unknown character is than the least likely piece; SentencePiece's number. */
const unknownPenalty = 10;

/** A node of the tree of pieces, by UTF-16 code unit. */
interface Node {
  next: Map<number, Node>;
  /** The piece that ends here. */
  id: number | null;
}

/**
 * Cuts a word into the pieces whose probabilities have the largest product (Kudo 2018). A character that no piece
 * covers is unknown; unknown characters in a row are one unknown token. Of two cuts that are equally likely the one
 * whose last piece begins earlier counts, as in the reference.
 */
export function createUnigram({ vocabulary, unknownId }: Unigram): WordModel {
  const root: Node = { next: new Map(), id: null };
  const idOf = new Map<string, number>();
  const scores = Float64Array.from(vocabulary, ([, score]) => score);
  const unknownScore = scores.reduce((a, b) => Math.min(a, b), Infinity) - unknownPenalty;
  for (const [id, [piece]] of vocabulary.entries()) {
    idOf.set(piece, id);
    let node = root;
    for (let i = 0; i < piece.length; i++) {
      const unit = piece.charCodeAt(i);
      let next = node.next.get(unit);
      if (next === undefined) node.next.set(unit, (next = { next: new Map(), id: null }));
      node = next;
    }
    if (piece !== "") node.id = id;
  }

  return (word) => {
    const length = word.length;
    // Of the best cut of the first `end` units: its score (NaN where no cut ends), its last piece and where that begins.
    const best = new Float64Array(length + 1).fill(NaN);
    const begins = new Int32Array(length + 1);
    const pieces = new Int32Array(length + 1);
    best[0] = 0;
    const offer = (end: number, begin: number, id: number, score: number): void => {
      if (score <= best[end]!) return;
      best[end] = score;
      begins[end] = begin;
      pieces[end] = id;
    };
    for (let begin = 0; begin < length;) {
      const characterEnd = begin + (word.codePointAt(begin)! > 0xffff ? 2 : 1);
      let hasCharacter = false;
      let node: Node | undefined = root;
      for (let i = begin; i < length;) {
        node = node.next.get(word.charCodeAt(i));
        if (node === undefined) break;
        i += 1;
        if (node.id === null) continue;
        offer(i, begin, node.id, best[begin]! + scores[node.id]!);
        if (i === characterEnd) hasCharacter = true;
      }
      if (!hasCharacter) offer(characterEnd, begin, unknownId, best[begin]! + unknownScore);
      begin = characterEnd;
    }

    const ids: number[] = [];
    for (let end = length; end > 0;) {
      const stop = end;
      let begin = begins[end]!;
      if (pieces[end] !== unknownId) {
        ids.push(pieces[end]!);
      } else {
        while (begin > 0 && pieces[begin] === unknownId) begin = begins[begin]!;
        // The reference looks up what it joined, so that a joined string may be a piece after all.
        ids.push(idOf.get(word.slice(begin, stop)) ?? unknownId);
      }
      end = begin;
    }
    return ids.reverse();
  };
}
