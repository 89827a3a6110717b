"""What transformers makes of folders that steadytune saved: one request a line on stdin, one answer a line on stdout.

A request is JSON: {"folder": ..., "rows": [{"input_ids": [...], "token_type_ids": [...]}, ...],
"texts": [[text, pair or null], ...]}. The answer is JSON: the model's class, its labels and problem, the logits of each
row, and, when there are texts, what AutoTokenizer makes of them; or {"error": ...}. Each row goes through the model
alone, so that no padding is involved.
"""

import json
import sys
import traceback

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def answer(folder, rows, texts):
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    model.eval()
    logits = []
    with torch.no_grad():
        for row in rows:
            logits.append(model(**{key: torch.tensor([ids]) for key, ids in row.items()}).logits[0].tolist())
    encoded = []
    if texts:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        for text, pair in texts:
            row = tokenizer(text, pair)
            encoded.append({key: row[key] for key in ("input_ids", "token_type_ids")})
    return {
        "class": type(model).__name__,
        "labels": [model.config.id2label[index] for index in range(model.config.num_labels)],
        "problem": model.config.problem_type,
        "notLoaded": {key: sorted(map(str, value)) for key, value in loading.items() if value},
        "logits": logits,
        "encoded": encoded,
    }


for line in sys.stdin:
    try:
        result = answer(**json.loads(line))
    except Exception:
        result = {"error": traceback.format_exc()}
    print(json.dumps(result), flush=True)
