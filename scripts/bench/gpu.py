"""transformers' side of `npm run bench:gpu`: answers each line of JSON on stdin with one on stdout.

{"do": "floor"}: the rates of a large bfloat16 matrix product and of a large copy on this device.
{"do": "train", "model": "base" or "large", "lengths": [[...], ...], "compile": bool}: milliseconds a step of BERT with
random weights under bfloat16 autocast with float32 master weights, rows padded to the longest of their batch, the fused
AdamW of PyTorch, clipping to norm 1 and a linear schedule: what Trainer does, without its own overhead.
{"do": "forget"}: frees the models.
"""

import json
import statistics
import sys

import torch
import transformers

device = torch.device("cuda")
sizes = {
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
    "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
}
models = {}


def timed(work):
    """Milliseconds on the device."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def floor():
    size = 8192
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.randn(2**29, device=device)
    target = torch.empty_like(source)
    for _ in range(3):
        torch.mm(left, right, out=product)
        target.copy_(source)
    matrix = statistics.median(timed(lambda: torch.mm(left, right, out=product)) for _ in range(10))
    copy = statistics.median(timed(lambda: target.copy_(source)) for _ in range(10))
    del left, right, product, source, target
    torch.cuda.empty_cache()
    return {
        "matrixTflops": 2 * size**3 / matrix / 1e9,
        # Read and written.
        "copyGbPerSecond": 2 * 4 * 2**29 / copy / 1e6,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "python": sys.version.split()[0]},
    }


def model_of(name, compiled):
    if (name, compiled) not in models:
        torch.manual_seed(0)
        config = transformers.BertConfig(**sizes[name], num_labels=2)
        model = transformers.BertForSequenceClassification(config).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, total_iters=1000)
        run = torch.compile(model, dynamic=True) if compiled else model
        models[name, compiled] = model, run, optimizer, schedule
    return models[name, compiled]


def batches_of(lengths):
    batches = []
    for step, rows in enumerate(lengths):
        width = max(rows)
        mask = torch.arange(width)[None, :] < torch.tensor(rows)[:, None]
        ids = (torch.arange(len(rows) * width).view(len(rows), width) * 7919 + step * 104729) % 30522
        batches.append(
            {
                "input_ids": torch.where(mask, ids, 0).pin_memory(),
                "attention_mask": mask.long().pin_memory(),
                "token_type_ids": torch.zeros_like(ids).pin_memory(),
                "labels": (torch.arange(len(rows)) % 2).pin_memory(),
            }
        )
    return batches


def train(name, lengths, compiled):
    model, run, optimizer, schedule = model_of(name, compiled)
    batches = batches_of(lengths)

    def steps():
        for batch in batches:
            batch = {key: values.to(device, non_blocking=True) for key, values in batch.items()}
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = run(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()

    for _ in range(2):
        steps()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    steps()
    end.record()
    torch.cuda.synchronize()
    return {"ms": begin.elapsed_time(end) / len(batches)}


def forget():
    models.clear()
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    return {}


def answer(question):
    if question["do"] == "floor":
        return floor()
    if question["do"] == "train":
        return train(question["model"], question["lengths"], question["compile"])
    return forget()


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
