/**
 * JSON.parse that also refuses an object with the same key twice, of which JSON.parse would keep the last without a
 * word. In a header of tensors that is a sign of a damaged or a malicious file.
 *
 * @throws SyntaxError with a message that names the key.
 */
export function parseStrictJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  refuseDuplicateKeys(text);
  return value;
}

/** `text` is known to be valid JSON: only strings and brackets need to be told apart. */
function refuseDuplicateKeys(text: string): void {
  // The keys seen so far of each object that is open; null stands for an open array.
  const open: (Set<string> | null)[] = [];
  let position = 0;
  while (position < text.length) {
    const character = text[position];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(null);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const end = endOfString(text, position);
      const keys = open.at(-1);
      if (keys && isKey(text, end)) {
        const key = JSON.parse(text.slice(position, end)) as string;
        if (keys.has(key)) throw new SyntaxError(`the key ${JSON.stringify(key)} stands there twice`);
        keys.add(key);
      }
      position = end;
      continue;
    }
    position++;
  }
}

/** The position behind the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let position = start + 1;
  while (text[position] !== '"') position += text[position] === "\\" ? 2 : 1;
  return position + 1;
}

function isKey(text: string, end: number): boolean {
  let position = end;
  while (/\s/.test(text[position] ?? "")) position++;
  return text[position] === ":";
}
