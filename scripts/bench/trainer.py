"""One run of transformers' Trainer on the CPU, timed step by step; compare.mjs runs it beside steadytune.

Rows are trained on in the order of the file (JSONL: text, pair or null, label), so that both sides see equal batches.
Prints one JSON object: {"stepMs", "losses", "peakMemoryBytes", "threads", "versions"}.
"""

import argparse
import json
import platform
import resource
import sys
import tempfile
import time

import torch
import transformers
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a checkpoint")
    parser.add_argument("--rows", required=True, help="JSONL file, in training order")
    parser.add_argument("--outputs", required=True, type=int, help="number of classes, 1 for regression")
    parser.add_argument("--steps", required=True, type=int)
    parser.add_argument("--batch-size", required=True, type=int)
    parser.add_argument("--max-length", required=True, type=int)
    parser.add_argument("--dtype", required=True, choices=["float32", "bfloat16"])
    parser.add_argument("--threads", required=True, type=int)
    return parser.parse_args()


class InFileOrder(Trainer):
    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset or self.train_dataset)


class StepTimes(TrainerCallback):
    """Times from the end of one step to the end of the next: collating and moving the batch count."""

    def __init__(self):
        self.ends = []

    def on_train_begin(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())

    def milliseconds(self):
        return [1000 * (end - start) for start, end in zip(self.ends, self.ends[1:])]


def main():
    options = parse_arguments()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    transformers.set_seed(0)

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    problem = {"problem_type": "regression"} if options.outputs == 1 else {}
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=options.outputs, dtype=torch.float32, **problem
    )

    def encode(row):
        encoded = tokenizer(row["text"], row["pair"], truncation=True, max_length=options.max_length)
        return {**encoded, "label": row["label"]}

    with open(options.rows, encoding="utf-8") as lines:
        dataset = [encode(json.loads(line)) for line in lines]

    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        trainer = InFileOrder(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                use_cpu=True,
                bf16=options.dtype == "bfloat16",
                per_device_train_batch_size=options.batch_size,
                max_steps=options.steps,
                learning_rate=5e-5,
                weight_decay=0.01,
                warmup_steps=0.1,
                lr_scheduler_type="linear",
                max_grad_norm=1.0,
                logging_strategy="steps",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=dataset,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[times],
        )
        # It prints the log of every step to standard output, where the result goes.
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()

    result = {
        "stepMs": times.milliseconds(),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "peakMemoryBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
