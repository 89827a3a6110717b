"""transformers' side of `npm run bench:gpu`, on the device that is its argument (cuda; or cpu, to try the benchmark
itself): answers each line of JSON on stdin with one on stdout.

{"do": "floor"}: the rates of a large bfloat16 matrix product and of a large copy on this device.
{"do": "train", "model": "base", "large" or "tiny", "lengths": [[...], ...], "compile": bool}: milliseconds a step of BERT with
random weights under bfloat16 autocast with float32 master weights, rows padded to the longest of their batch and on to a
multiple of 8, which tensor cores like, the fused AdamW of PyTorch, clipping to norm 1 and a linear schedule: what Trainer
does, without its own overhead.
{"do": "forget"}: frees the models.

What fails is answered with {"error": ...}.
"""

import gc
import json
import statistics
import sys
import time
import traceback

import torch
import torch._dynamo
import transformers

device = torch.device(sys.argv[1])
on_gpu = device.type == "cuda"
# Beyond 8 kinds of shapes Dynamo would go on without compiling, and say so in passing.
torch._dynamo.config.recompile_limit = 64
torch._dynamo.config.fail_on_recompile_limit_hit = True
sizes = {
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
    "tiny": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128),
    "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
}
models = {}


def timed(work):
    """Milliseconds on the device."""
    if not on_gpu:
        started = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - started)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def floor():
    size, numbers = (8192, 2**29) if on_gpu else (256, 2**20)
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    # Until clocks have settled.
    for _ in range(50):
        torch.mm(left, right, out=product)
        target.copy_(source)
    matrix = statistics.median(timed(lambda: torch.mm(left, right, out=product)) for _ in range(10))
    copy = statistics.median(timed(lambda: target.copy_(source)) for _ in range(10))
    del left, right, product, source, target
    empty_cache()
    return {
        "matrixTflops": 2 * size**3 / matrix / 1e9,
        # Read and written.
        "copyGbPerSecond": 2 * 4 * numbers / copy / 1e6,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "python": sys.version.split()[0]},
    }


def empty_cache():
    if on_gpu:
        torch.cuda.empty_cache()


def model_of(name, compiled):
    if (name, compiled) not in models:
        torch.manual_seed(0)
        config = transformers.BertConfig(**sizes[name], num_labels=2, problem_type="single_label_classification")
        model = transformers.BertForSequenceClassification(config).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, total_iters=1000)
        run = torch.compile(model, dynamic=True) if compiled else model
        models[name, compiled] = model, run, optimizer, schedule
    return models[name, compiled]


def batches_of(lengths):
    batches = []
    for step, rows in enumerate(lengths):
        width = -(-max(rows) // 8) * 8
        mask = torch.arange(width)[None, :] < torch.tensor(rows)[:, None]
        ids = (torch.arange(len(rows) * width).view(len(rows), width) * 7919 + step * 104729) % 30522
        batches.append(
            {
                "input_ids": torch.where(mask, ids, 0),
                "attention_mask": mask.long(),
                "token_type_ids": torch.zeros_like(ids),
                "labels": torch.arange(len(rows)) % 2,
            }
        )
    if not on_gpu:
        return batches
    return [{key: values.pin_memory() for key, values in batch.items()} for batch in batches]


def train(name, lengths, compiled):
    model, run, optimizer, schedule = model_of(name, compiled)
    batches = batches_of(lengths)

    def steps():
        for batch in batches:
            batch = {key: values.to(device, non_blocking=True) for key, values in batch.items()}
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = run(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)

    for _ in range(2):
        steps()
    return {"ms": timed(steps) / len(batches)}


def forget():
    models.clear()
    torch._dynamo.reset()
    gc.collect()
    empty_cache()
    return {}


def answer(question):
    if question["do"] == "floor":
        return floor()
    if question["do"] == "train":
        return train(question["model"], question["lengths"], question["compile"])
    return forget()


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        traceback.print_exc()
        reply = {"error": f"{type(error).__name__}: {error}"[:1000]}
    print(json.dumps(reply), flush=True)
