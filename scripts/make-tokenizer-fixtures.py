#!/usr/bin/env python3
"""Trains the small tokenizers in test/fixtures/tokenizer/<kind>/ and writes what `tokenizers` makes of odd text with them.

    pip install tokenizers sentencepiece protobuf && python3 scripts/make-tokenizer-fixtures.py

One for each kind of file that a model family has: RoBERTa's and BART's byte-level BPE, XLNet's and XLM-RoBERTa's
Unigram. The text that they are trained on is below. `sentencepiece` only turns the table of replacements below into the
binary form that `Precompiled` reads. Each folder's reference.json holds texts drawn with a fixed seed, and their ids;
characters.json holds classes of characters that the steps act on, found by asking about every code point.
"""

import json
import os
import random
import tempfile
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

target = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "tokenizer"

subjects = ["The cat", "A small dog", "Her neighbour", "My parcel", "The new printer", "Our oldest customer", "Nobody"]
verbs = ["didn't arrive", "sleeps", "wasn't working", "has been sent back", "couldn't find", "is waiting for", "likes"]
objects = ["the invoice", "a refund of 25 euros", "two boxes", "the garden", "an answer since 2019", "it's place", "you"]
endings = [".", "!", "?", ", again.", "; we've asked twice.", " (see page 3).", " - thanks!", "...", ' "as always".']
others = [
    "Die Straße führt über den Fluß zur schönen Mühle.",
    "Où est la clé de l'hôtel ? Elle était déjà là, près du café.",
    "Το σπίτι είναι δίπλα στη θάλασσα.",
    "Кошка спит на тёплой печке, а собака ждёт у двери.",
    "猫は庭で寝ています。手紙はまだ届いていません。",
    "小猫在花园里睡觉，我们还在等一封信。",
    "고양이가 정원에서 자고 있어요.",
    "القطة تنام في الحديقة وننتظر رسالة.",
    "החתול ישן בגינה.",
    "बिल्ली बगीचे में सो रही है।",
    "Thanks 😀 see you 👍🏽 at 10:30 ☕",
]

# What the table of `Precompiled` replaces: as SentencePiece's own, in small. Hexadecimal code points.
replacements = {
    **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
    **{character: " " for character in "\u00a0\u1680\u2002\u2003\u2009\u200b\u200e\u2028\u3000\t\n\r\ufeff"},
    **{chr(code): "" for code in [*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F]},
    **{"ﬁ": "fi", "ﬀ": "ff", "™": "TM", "½": "1⁄2", "²": "2", "①": "1", "Ⅷ": "VIII", "℃": "°C", "…": "...", "ſ": "s"},
    **{"e\u0301": "\u00e9", "a\u0300": "\u00e0", "u\u0308": "\u00fc", "か\u3099": "\u304c", "は\u309a": "\u3071"},
    **{"\uff76\uff9e": "\u30ac", "\uff76": "\u30ab"},
    **{"\u0627\u0653": "\u0622", "\u05e9\u05c1": "\ufb2a", "\u1112\u1161": "\ud558", "\U0001d49c": "A"},
    **{"\u212a": "K", "\uf900": "\u8c48", "\r\n": " "},
}

alphabets = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ΑΒΓΔΣσςάέήίΰώ",
    "İıŞşĞğÄÖÜäöüßẞÆæŒœÇç",
    "АБВГабвгЙйЁё",
    "\u0300\u0301\u0302\u0303\u0308\u0327\u0345\u034f\u05b0\u064b\u093c\u0e31\u3099\u20dd\u0591\u135d\u1ab0\ufe20",
    "日本語中文가각한국어のテキスト\U00020000\U0002a6d6\U0002b73f\U0002f80a\uf900㐀かはｶﾞ",
    "القطة\u0653تنام\u0627החתול\u05c1शबिल्ली\u0600\u06dd",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«»¿–—‘’“”…‰‹›、。〈〉\u2e2e\u2e4f\u10fb\u2581",
    "\u0000\u0001\u0007\u000b\u000c\u001f\u007f\u0085\u00ad\u061c\u180e\u200b\u200d\u200e\u2028\u2029\u2060\ufeff\ufffd\ue000\U000e0001",
    " \t\n\r\u00a0\u1680\u2003\u202f\u205f\u3000",
    "½²①Ⅷﬁﬀ™℃Å\u212a\U0001d49c\U0001f642\U0001f1e6\U0001f468\U0001f3fdｱＡ１",
    "0123456789",
]
words = ["the", "e\u0301", "ſ\u0301", "か\u3099", "\r\n", "...", "....", " cat", "parcel", "It's", "'re", "couldn't", "'LL", "``", "''", "neighbour", "Straße", "x" * 101, "y" * 300, "eé"]


def corpus():
    rng = random.Random(4)
    lines = list(others) * 3
    for _ in range(400):
        lines.append(" ".join(rng.choice(part) for part in (subjects, verbs, objects)) + rng.choice(endings))
    return lines


def charsmap():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.txt").write_text("\n".join(corpus()), "utf-8")
        (Path(folder) / "rules.tsv").write_text(
            "".join(
                " ".join(f"{ord(c):x}" for c in key) + "\t" + " ".join(f"{ord(c):x}" for c in value) + "\n"
                for key, value in sorted(replacements.items())
            ),
            "utf-8",
        )
        sentencepiece.SentencePieceTrainer.train(
            input=f"{folder}/text.txt",
            model_prefix=f"{folder}/model",
            vocab_size=250,
            character_coverage=1.0,
            hard_vocab_limit=False,
            normalization_rule_tsv=f"{folder}/rules.tsv",
            minloglevel=2,
        )
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((Path(folder) / "model.model").read_bytes())
        return model.normalizer_spec.precompiled_charsmap


def special(content, **settings):
    return AddedToken(content, special=True, normalized=False, **settings)


def roberta_tokens():
    return [special(token) for token in ("<s>", "<pad>", "</s>", "<unk>")] + [special("<mask>", lstrip=True)]


def byte_level(prefix):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=roberta_tokens(),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def roberta():
    tokenizer = byte_level(prefix=False)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return tokenizer


def bart():
    """With the things that files of BART's kind may have, too: a blank before the first word, added words."""
    tokenizer = byte_level(prefix=True)
    tokenizer.add_tokens(
        [
            AddedToken("COVID-19", normalized=True),
            AddedToken("cat", normalized=False, single_word=True),
            AddedToken("<tag>", normalized=False, lstrip=True, rstrip=True),
        ]
    )
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<s> $A </s>",
                pair="<s> $A </s> </s> $B:0 </s>",
                special_tokens=[("<s>", 0), ("</s>", 2)],
            ),
        ]
    )
    return tokenizer


def unigram(special_tokens, normalizer, pre_tokenizer, unknown):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=special_tokens, unk_token=unknown, max_piece_length=8, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    # The trainer's sums, and so the order of pieces, differ from run to run in the last digits.
    vocabulary = [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]
    first = len(special_tokens)
    # Thirds have all the digits of a double, as real scores do, so that it matters how they are read.
    pieces = sorted(((piece, round(score, 2) / 3) for piece, score in vocabulary[first:]), key=lambda e: (-e[1], e[0]))
    tokenizer.model = models.Unigram(vocabulary[:first] + pieces, tokenizer.token_to_id(unknown), False)
    return tokenizer


def xlnet():
    names = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>"]
    tokenizer = unigram(
        [special(name) for name in names] + [special("<mask>", lstrip=True), special("<eod>"), special("<eop>")],
        normalizers.Sequence(
            [
                normalizers.Replace("``", '"'),
                normalizers.Replace("''", '"'),
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
                normalizers.Precompiled(charsmap()),
                normalizers.Replace(Regex(" {2,}"), " "),
            ]
        ),
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        "<unk>",
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2",
        pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        special_tokens=[("<sep>", 4), ("<cls>", 3)],
    )
    return tokenizer


def xlm_roberta():
    tokenizer = unigram(
        roberta_tokens(),
        normalizers.Precompiled(charsmap()),
        pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
        ),
        "<unk>",
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B:0 </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def unigram_settings():
    """The settings that XLNet's and XLM-RoBERTa's own files do not show."""
    tokenizer = unigram(
        roberta_tokens(),
        normalizers.Sequence([normalizers.Strip(left=True, right=True), normalizers.NFC()]),
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False),
        "<unk>",
    )
    tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


kinds = {
    "roberta": roberta,
    "bart": bart,
    "xlnet": xlnet,
    "xlm-roberta": xlm_roberta,
    "unigram-settings": unigram_settings,
}


def draw(rng, special_tokens):
    parts = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.random()
        if kind < 0.12:
            parts.append(rng.choice(special_tokens))
        elif kind < 0.3:
            parts.append(rng.choice(words))
        elif kind < 0.4:
            parts.append(rng.choice(rng.choice([subjects, verbs, objects, endings, others])))
        elif kind < 0.5:
            parts.append(" " * rng.randrange(1, 5))
        else:
            alphabet = rng.choice(alphabets)
            parts.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 6))))
        if rng.random() < 0.4:
            parts.append(" ")
    return "".join(parts)


def cases(tokenizer):
    rng = random.Random(20)
    special_tokens = [token.content for token in tokenizer.get_added_tokens_decoder().values()] + ["<MASK>", "< s>"]
    texts = [("", None), (" ", None), ("  the  cat  ", "  ")]
    texts += [(draw(rng, special_tokens), draw(rng, special_tokens) if rng.random() < 0.5 else None) for _ in range(120)]
    result = []
    for text, pair in texts:
        max_length = rng.choice([4, 5, 7, 8, 16, 33, 128, 128])
        tokenizer.enable_truncation(max_length, strategy="longest_first")
        encoding = tokenizer.encode(text, pair)
        tokenizer.no_truncation()
        result.append(
            {
                "text": text,
                "pair": pair,
                "max_length": max_length,
                "input_ids": encoding.ids,
                "token_type_ids": encoding.type_ids,
            }
        )
    return result


def ranges(points):
    spans = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return " ".join(f"{a:x}" if a == b else f"{a:x}-{b:x}" for a, b in spans)


def characters():
    """Letters and numbers of the byte-level rule; what StripAccents drops; what NFKD changes."""
    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    rule = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def joining(character):
        return ranges(p for p in points if len(rule.pre_tokenize_str(character + chr(p))) == 1)

    accents, decomposition = normalizers.StripAccents(), normalizers.NFKD()
    return {
        "letters": joining("a"),
        "numbers": joining("1"),
        "accents": ranges(p for p in points if accents.normalize_str("a" + chr(p) + "b") == "ab"),
        "decomposed": ranges(p for p in points if decomposition.normalize_str(chr(p)) != chr(p)),
    }


def write(path, value, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, **options) + "\n", "utf-8")


def main():
    for kind, build in kinds.items():
        tokenizer = build()
        folder = target / kind
        write(folder / "tokenizer.json", json.loads(tokenizer.to_str()), separators=(",", ":"))
        reference = {"tokenizers": tokenizers.__version__, "cases": cases(tokenizer)}
        (folder / "reference.json").write_text(json.dumps(reference, separators=(",", ":")) + "\n", "utf-8")
    roberta_model = json.loads((target / "roberta" / "tokenizer.json").read_text("utf-8"))["model"]
    write(target / "roberta-files" / "vocab.json", roberta_model["vocab"], separators=(",", ":"))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in roberta_model["merges"])]
    (target / "roberta-files" / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    write(target / "roberta-files" / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"})
    mask = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    write(target / "roberta-files" / "special_tokens_map.json", {"mask_token": mask})
    write(target / "characters.json", {"tokenizers": tokenizers.__version__, **characters()})


if __name__ == "__main__":
    main()
