#!/usr/bin/env python3
"""Writes test/fixtures/tokenizer/reference.json: what Hugging Face's `tokenizers` makes of odd text.

    pip install tokenizers && python3 scripts/make-tokenizer-reference.py

`characters` are the classes of code points that its BERT normalizer and pre-tokenizer act on, found by asking it about
every code point; src/tokenizer/bert-characters.ts holds the same ranges. `cases` are texts drawn with a fixed seed from
the alphabets below, with the ids of bert-base-uncased's vocabulary.
"""

import json
import random
import unicodedata
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

fixtures = Path(__file__).resolve().parent.parent / "test" / "fixtures"
vocabulary = {
    token: index
    for index, token in enumerate((fixtures / "vocab" / "bert-base-uncased-vocab.txt").read_text("utf-8").splitlines())
}
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

settings = {
    "uncased": {"lowercase": True, "strip_accents": None},
    "cased": {"lowercase": False, "strip_accents": None},
    "accents kept": {"lowercase": True, "strip_accents": False},
}

alphabets = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ΑΒΓΔΣσςάέήίΰώ",
    "İıŞşĞğÄÖÜäöüßẞÆæŒœÇç",
    "АБВГабвгЙйЁё",
    "\u0300\u0301\u0302\u0303\u0308\u0327\u0345\u034f\u05b0\u064b\u093c\u0e31\u3099\u20dd\u0591\u135d\u1ab0\ufe20",
    "日本語中文가각한국어のテキスト\U00020000\U0002a6d6\U0002b73f\U0002f80a\uf900㐀",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«»¿–—‘’“”…‰‹›、。〈〉\u2e2e\u2e4f\u10fb",
    "\u0000\u0001\u0007\u000b\u000c\u001f\u007f\u0085\u00ad\u061c\u180e\u200b\u200d\u200e\u2028\u2029\u2060\ufeff\ufffd\ue000\U000e0001",
    " \t\n\r\u00a0\u1680\u2003\u202f\u205f\u3000",
    "½²①Ⅷﬁﬀ™℃Å K\U0001d49c\U0001f642\U0001f1e6\U0001f468\U0001f3fd",
]


def ranges(points):
    spans = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in spans)


def characters():
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    strip = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    words = pre_tokenizers.BertPreTokenizer()
    cleaned = {p: clean.normalize_str("a" + chr(p) + "b")[1:-1] for p in points}
    return {
        "removed": ranges(p for p in points if cleaned[p] == ""),
        "ideographs": ranges(p for p in points if cleaned[p] == " " + chr(p) + " "),
        "marks": ranges(
            p
            for p in points
            if strip.normalize_str("a" + chr(p) + "b") == "ab" and unicodedata.normalize("NFD", chr(p)) == chr(p)
        ),
        "punctuation": ranges(p for p in points if len(words.pre_tokenize_str("a" + chr(p) + "b")) == 3),
    }


def build(options):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer


def draw(rng):
    parts = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.random()
        if kind < 0.1:
            parts.append(rng.choice(special + ["[cls]", "[ MASK ]", "##ing", "[unused1]"]))
        elif kind < 0.4:
            parts.append(rng.choice([word for word in ("steady", "Tuning", "unaffable", "x" * 101, "y" * 100)]))
        else:
            alphabet = rng.choice(alphabets)
            parts.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 6))))
        if rng.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def main():
    rng = random.Random(20)
    cases = []
    for name, options in settings.items():
        tokenizer = build(options)
        for _ in range(120):
            text = draw(rng)
            pair = draw(rng) if rng.random() < 0.5 else None
            max_length = rng.choice([3, 4, 7, 8, 16, 33, 128])
            tokenizer.enable_truncation(max_length, strategy="longest_first")
            encoding = tokenizer.encode(text, pair)
            cases.append(
                {
                    "settings": name,
                    "text": text,
                    "pair": pair,
                    "max_length": max_length,
                    "input_ids": encoding.ids,
                    "token_type_ids": encoding.type_ids,
                }
            )
    reference = {"tokenizers": tokenizers.__version__, "characters": characters(), "cases": cases}
    target = fixtures / "tokenizer" / "reference.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(reference, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
