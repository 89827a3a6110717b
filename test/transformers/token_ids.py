"""What Hugging Face's `tokenizers` makes of texts: one request a line on stdin, one answer a line on stdout.

A request is JSON: {"folder": ..., "texts": [[text, pair or null, max_length], ...]}. The answer is JSON: {"rows":
[{"input_ids": [...], "token_type_ids": [...]}, ...]}, or {"error": ...}. A folder with a tokenizer.json is read by
`tokenizers` itself, another one, or any with "auto": true, by transformers' AutoTokenizer, which builds one.
"""

import json
import sys
import traceback
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer


def by_tokenizers(path, texts):
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    for text, pair, max_length in texts:
        tokenizer.enable_truncation(max_length, strategy="longest_first")
        encoding = tokenizer.encode(text, pair)
        yield {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}


def by_transformers(folder, texts):
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text, pair, max_length in texts:
        row = tokenizer(text, pair, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
        yield {key: row[key] for key in ("input_ids", "token_type_ids")}


def answer(folder, texts, auto=False):
    path = Path(folder) / "tokenizer.json"
    return {"rows": list(by_transformers(folder, texts) if auto or not path.exists() else by_tokenizers(path, texts))}


for line in sys.stdin:
    try:
        result = answer(**json.loads(line))
    except Exception:
        result = {"error": traceback.format_exc()}
    print(json.dumps(result), flush=True)
