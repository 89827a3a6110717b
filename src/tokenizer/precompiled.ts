import { TokenizerError } from "../errors.js";

/** Characters that are one to the reader; the reference, too, cuts by the default rules of Unicode, without a language. */
const segmenter = new Intl.Segmenter("und", { granularity: "grapheme" });
/** UTF-16 code units that the segmenter gets at a time. */
const pieceLength = 128;
/** A cluster of more UTF-8 bytes is looked up character by character. */
const longestCluster = 5;

/** What can lie in a cluster with more than one character, or be a single one that is not printable ASCII. */
const notPlain = /[ -~]?(?:[^ -~]+[ -~]?)+/g;
const everything = /[^]+/g;

/**
 * SentencePiece's own normalization ("nmt_nfkc" and the like), as `Precompiled` in a tokenizer.json: a double-array
 * trie from UTF-8 strings to places in a table of what replaces them. As in the reference a cluster, or a character, is
 * replaced by what the *shortest* entry says that begins it, even where that covers only a part of it.
 *
 * @param charsmap base64, as in the file
 * @param path named in errors
 */
export function createPrecompiled(charsmap: string, path: string): (text: string) => string {
  const lookUp = parseCharsmap(charsmap, path);
  const known = new Map<string, string | null>();
  const replacement = (part: string): string | null => {
    let result = known.get(part);
    if (result === undefined) {
      if (known.size >= 20_000) known.clear();
      known.set(part, (result = lookUp(Buffer.from(part))));
    }
    return result;
  };
  const replaceClusters = (text: string): string => {
    let result = "";
    for (const cluster of clustersOf(text)) {
      const whole = Buffer.byteLength(cluster) <= longestCluster ? replacement(cluster) : null;
      if (whole !== null) result += whole;
      else for (const character of cluster) result += replacement(character) ?? character;
    }
    return result;
  };
  // Nearly all of most texts is printable ASCII, which nearly all tables leave as it is.
  const keepsAscii = Array.from({ length: 0x7f - 0x20 }, (_, i) => String.fromCharCode(0x20 + i)).every(
    (character) => replacement(character) === null,
  );
  const relevant = keepsAscii ? notPlain : everything;
  return (text) => text.replace(relevant, replaceClusters);
}

/**
 * The clusters of a text. Intl.Segmenter takes a time for each that grows with the length of the text, so it gets a
 * piece at a time: the last cluster of a piece may go on in the next one, and is asked about again.
 */
function* clustersOf(text: string): Generator<string> {
  let start = 0;
  let length = pieceLength;
  while (start < text.length) {
    let end = Math.min(text.length, start + length);
    if (isHighSurrogate(text.charCodeAt(end - 1))) end += 1;
    const segments = Array.from(segmenter.segment(text.slice(start, end)), ({ segment }) => segment);
    if (end < text.length) {
      segments.pop();
      // One cluster that is longer than the piece.
      length = segments.length === 0 ? 2 * length : pieceLength;
    }
    for (const segment of segments) start += segment.length;
    yield* segments;
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00;
}

/** What the shortest entry that begins the given bytes is replaced by; null where there is none. */
function parseCharsmap(charsmap: string, path: string): (key: Uint8Array) => string | null {
  const bytes = Buffer.from(charsmap, "base64");
  const trieBytes = bytes.length >= 4 ? bytes.readUInt32LE(0) : NaN;
  if (!(trieBytes % 4 === 0 && trieBytes > 0 && 4 + trieBytes <= bytes.length)) {
    throw new TokenizerError(`${path}: normalizer.precompiled_charsmap is not a table of SentencePiece`);
  }
  const units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
  const table = bytes.subarray(4 + trieBytes);
  // A unit holds a label (and a mark that says it is a value instead), where its children lie, and whether an entry ends.
  const childrenOf = (place: number, unit: number): number => place ^ ((unit >>> 10) << ((unit & 0x200) >>> 6));
  return (key) => {
    let place = childrenOf(0, units[0]!);
    for (const byte of key) {
      if (byte === 0) return null;
      place ^= byte;
      const unit = units[place];
      if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return null;
      place = childrenOf(place, unit);
      if ((unit & 0x100) === 0) continue;
      const start = (units[place] ?? 0) & 0x7fffffff;
      const end = table.indexOf(0, start);
      return table.toString("utf8", start, end < 0 ? table.length : end);
    }
    return null;
  };
}
