/** One piece of an encoded row: a special token, or the tokens of the first (a) or second (b) text. */
export type TemplatePiece = { tokenId: number; segment: number } | { text: "a" | "b"; segment: number };

/** What an encoded row is made of: `single` for one text, `pair` for two. */
export interface Template {
  single: TemplatePiece[];
  pair: TemplatePiece[];
}

/** [CLS] a [SEP] and [CLS] a [SEP] b [SEP], the second text and its [SEP] being segment 1. */
export function bertTemplate(cls: number, sep: number): Template {
  const single: TemplatePiece[] = [
    { tokenId: cls, segment: 0 },
    { text: "a", segment: 0 },
    { tokenId: sep, segment: 0 },
  ];
  return { single, pair: [...single, { text: "b", segment: 1 }, { tokenId: sep, segment: 1 }] };
}

/** <s> a </s> and <s> a </s></s> b </s>, all of it segment 0. */
export function robertaTemplate(cls: number, sep: number): Template {
  const end: TemplatePiece = { tokenId: sep, segment: 0 };
  const single: TemplatePiece[] = [{ tokenId: cls, segment: 0 }, { text: "a", segment: 0 }, end];
  return { single, pair: [...single, end, { text: "b", segment: 0 }, end] };
}

export function specialTokenCount(pieces: TemplatePiece[]): number {
  return pieces.filter((piece) => "tokenId" in piece).length;
}

export function fillTemplate(
  pieces: TemplatePiece[],
  texts: { a: number[]; b: number[] },
): { tokenIds: number[]; segmentIds: number[] } {
  const tokenIds: number[] = [];
  const segmentIds: number[] = [];
  for (const piece of pieces) {
    for (const tokenId of "tokenId" in piece ? [piece.tokenId] : texts[piece.text]) {
      tokenIds.push(tokenId);
      segmentIds.push(piece.segment);
    }
  }
  return { tokenIds, segmentIds };
}
