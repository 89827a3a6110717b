import { TokenizerError } from "../errors.js";
import type { WordModel } from "./pipeline.js";

export interface BytePair {
  vocabulary: Readonly<Record<string, number>>;
  /** Pairs of tokens that are joined, the most important first. */
  merges: readonly (readonly [left: string, right: string])[];
  /** What stands for a character outside of the vocabulary; null: such a character is dropped. */
  unknownToken: string | null;
  /** Unknown characters in a row are one token. */
  fuseUnknown: boolean;
  /** A word that is in the vocabulary as a whole is taken, whether or not merges lead there. */
  ignoreMerges: boolean;
}

/**
 * Byte-pair encoding (Sennrich et al. 2016): begins with the characters of a word and joins, again and again, the pair
 * that stands first in the list of merges, the leftmost of several. Candidates wait in a heap, so that the time for a
 * word of n characters grows with n log n.
 *
 * @param path named in errors
 */
export function createBytePair(model: BytePair, path: string): WordModel {
  const vocabulary = new Map(Object.entries(model.vocabulary));
  const idOf = (token: string): number => {
    const id = vocabulary.get(token);
    if (id === undefined)
      throw new TokenizerError(`${path}: the token ${JSON.stringify(token)} is not in the vocabulary`);
    return id;
  };
  const unknownId = model.unknownToken === null ? null : idOf(model.unknownToken);
  // A pair of ids as one number: below 2^53 for any vocabulary below 2^26.
  const pairs = [...vocabulary.values()].reduce((highest, id) => Math.max(highest, id), 0) + 1;
  const rankOf = new Map<number, number>();
  const joined = model.merges.map(([left, right], rank) => {
    rankOf.set(idOf(left) * pairs + idOf(right), rank);
    return idOf(left + right);
  });

  const characterIds = (word: string): number[] => {
    const ids: number[] = [];
    let afterUnknown = false;
    for (const character of word) {
      const id = vocabulary.get(character);
      if (id !== undefined) ids.push(id);
      else if (unknownId !== null && !(model.fuseUnknown && afterUnknown)) ids.push(unknownId);
      afterUnknown = id === undefined;
    }
    return ids;
  };

  return (word) => {
    const whole = model.ignoreMerges ? vocabulary.get(word) : undefined;
    return whole === undefined ? mergeAll(characterIds(word), pairs, rankOf, joined) : [whole];
  };
}

/** `ids` with all merges done, in place. Symbols are a linked list; those that were joined to the one before are gone. */
function mergeAll(
  ids: number[],
  pairs: number,
  rankOf: ReadonlyMap<number, number>,
  joined: readonly number[],
): number[] {
  const count = ids.length;
  if (count < 2) return ids;
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
  const gone = new Uint8Array(count);
  // Candidates as rank * count + place of the left symbol: the smallest is the first in the list, then the leftmost.
  const heap: number[] = [];
  const offer = (left: number): void => {
    const right = next[left]!;
    if (right >= count) return;
    const rank = rankOf.get(ids[left]! * pairs + ids[right]!);
    if (rank !== undefined) push(heap, rank * count + left);
  };
  for (let i = 0; i + 1 < count; i++) offer(i);
  while (heap.length > 0) {
    const candidate = pop(heap);
    const left = candidate % count;
    const rank = (candidate - left) / count;
    const right = next[left]!;
    if (gone[left] === 1 || right >= count) continue;
    // Symbols may have changed since; the reference, too, asks only whether the pair still makes the same token.
    const now = rankOf.get(ids[left]! * pairs + ids[right]!);
    if (now === undefined || joined[now] !== joined[rank]) continue;
    ids[left] = joined[rank]!;
    gone[right] = 1;
    next[left] = next[right]!;
    if (next[left] < count) previous[next[left]] = left;
    if (previous[left]! >= 0) offer(previous[left]!);
    offer(left);
  }
  return ids.filter((_, i) => gone[i] === 0);
}

/** Adds to a binary heap whose smallest number comes first. */
function push(heap: number[], value: number): void {
  let place = heap.push(value) - 1;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    if (heap[parent]! <= value) break;
    heap[place] = heap[parent]!;
    place = parent;
  }
  heap[place] = value;
}

/** Takes the smallest number from a heap that is not empty. */
function pop(heap: number[]): number {
  const smallest = heap[0]!;
  const value = heap.pop()!;
  const count = heap.length;
  if (count === 0) return smallest;
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= count) break;
    if (child + 1 < count && heap[child + 1]! < heap[child]!) child += 1;
    if (heap[child]! >= value) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = value;
  return smallest;
}
