import { randomIntegers } from "./random-integers.js";

const alphabets = [
  "abcdefghijklmnopqrstuvwxyz",
  "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  "0123456789",
  "ΑΒΓΔΣσςάέήίΰώİıŞşßẞÆæŒœ",
  "АБВГабвгЙйЁё",
  "\u0300\u0301\u0308\u0327\u0345\u05b0\u064b\u0653\u093c\u0e31\u3099\u309a\u20dd\ufe0f",
  "日本語中文각かはｶﾞガ\u{20000}\u{2f80a}\uf900",
  "القطة\u0627\u0600\u06ddהחתול\u05c1शबिल्ली\u1112\u1161",
  "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡«»–—‘’“”…\u2581",
  "\u0000\u0001\u0007\u000b\u001f\u007f\u0085\u00ad\u200b\u200d\u2028\u2060\ufeff\ufffd\ue000",
  " \t\n\r\u00a0\u1680\u2003\u202f\u3000",
  "½²①Ⅷﬁﬀ™℃Å\u{1d49c}😀👍🏽🇩🇪ｱＡ１",
].map((characters) => [...characters]);

const pieces = [
  ..."the cat|A parcel|couldn't find|it's|we've|I'LL|25 euros in 2019|Straße|neighbour's|``quoted''|...|  |    |\r\n".split(
    "|",
  ),
  "x".repeat(101),
  "zq".repeat(80),
  "....",
];

/** Texts of every script, white space and control characters, with `special` tokens among them; never empty. */
export function oddTexts(count: number, seed: number, special: readonly string[]): string[] {
  const random = randomIntegers(seed);
  const one = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const stretch = (): string => {
    const kind = random(10);
    if (kind === 0 && special.length > 0) return one(special);
    if (kind < 4) return one(pieces);
    const alphabet = one(alphabets);
    return Array.from({ length: 1 + random(6) }, () => one(alphabet)).join("");
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random(12) }, () => stretch() + (random(3) === 0 ? " " : "")).join(""),
  );
}
