/** A regular expression's character class, without its brackets, from ranges as above. */
export function characterClass(ranges: string): string {
  return ranges
    .trim()
    .split(/\s+/)
    .map((range) => {
      const [first, last] = range.split("-");
      return last === undefined ? `\\u{${first}}` : `\\u{${first}}-\\u{${last}}`;
    })
    .join("");
}
