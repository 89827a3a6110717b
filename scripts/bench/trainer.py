"""transformers' Trainer on the CPU, timed a few steps at a time; compare.mjs runs it in turns with steadytune.

Rows are trained on in the order of the file (JSONL: text, pair or null, label), so that both sides see equal batches.
Prints a JSON line when it has warmed up, and one for each line of standard input: "train" for the next steps,
"evaluate" for the outputs of the rows that were trained on last, "finish" for losses and peak memory.
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
from torch.utils.data import SequentialSampler, Subset
from transformers import (
    AutoConfig,
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
    parser.add_argument("--init", required=True, choices=["checkpoint", "random"])
    parser.add_argument("--rows", required=True, help="JSONL file, in training order")
    parser.add_argument("--outputs", required=True, type=int, help="number of classes, 1 for regression")
    parser.add_argument("--warm-up-steps", required=True, type=int)
    parser.add_argument("--steps", required=True, type=int, help="of one turn")
    parser.add_argument("--rounds", required=True, type=int)
    parser.add_argument("--batch-size", required=True, type=int)
    parser.add_argument("--max-length", required=True, type=int)
    parser.add_argument("--learning-rate", required=True, type=float)
    parser.add_argument("--dtype", required=True, choices=["float32", "bfloat16"])
    parser.add_argument("--threads", required=True, type=int)
    return parser.parse_args()


class InFileOrder(Trainer):
    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset or self.train_dataset)


class Turns(TrainerCallback):
    """Stops after every turn until the next is asked for; collating and moving the batches count."""

    def __init__(self, options):
        self.options = options
        self.trainer = None
        self.begin = None
        self.losses = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            self.losses.append(logs["loss"])

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        turn = state.global_step - self.options.warm_up_steps
        if turn < 0 or turn % self.options.steps != 0:
            return
        if turn == 0:
            answer({"threads": torch.get_num_threads(), "versions": versions()})
        else:
            answer({"ms": 1000 * (now - self.begin) / self.options.steps})
        request = sys.stdin.readline().strip()
        while request not in ("train", ""):
            answer({"evaluate": self.evaluate, "finish": self.finish}[request]())
            request = sys.stdin.readline().strip()
        control.should_training_stop = request == ""
        self.begin = time.perf_counter()

    def evaluate(self):
        last = self.trainer.state.global_step * self.options.batch_size
        first = last - self.options.steps * self.options.batch_size
        rows = Subset(self.trainer.train_dataset, range(first, last))
        begin = time.perf_counter()
        self.trainer.predict(rows)
        return {"ms": 1000 * (time.perf_counter() - begin) / self.options.steps}

    def finish(self):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"peakMemoryBytes": peak, "losses": self.losses[self.options.warm_up_steps :]}


def answer(value):
    print(json.dumps(value), flush=True)


def versions():
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def make_model(options):
    shape = {"num_labels": options.outputs}
    if options.outputs == 1:
        shape["problem_type"] = "regression"
    if options.init == "random":
        return AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(options.model, **shape))
    return AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.float32, **shape)


def main():
    options = parse_arguments()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    transformers.set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    def encode(row):
        encoded = tokenizer(row["text"], row["pair"], truncation=True, max_length=options.max_length)
        return {**encoded, "label": row["label"]}

    with open(options.rows, encoding="utf-8") as lines:
        dataset = [encode(json.loads(line)) for line in lines]

    turns = Turns(options)
    with tempfile.TemporaryDirectory() as folder:
        trainer = InFileOrder(
            model=make_model(options),
            args=TrainingArguments(
                output_dir=folder,
                use_cpu=True,
                bf16=options.dtype == "bfloat16",
                per_device_train_batch_size=options.batch_size,
                per_device_eval_batch_size=options.batch_size,
                max_steps=options.warm_up_steps + options.steps * options.rounds,
                learning_rate=options.learning_rate,
                weight_decay=0.0,
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
            callbacks=[turns],
        )
        turns.trainer = trainer
        # It prints the log of every step to standard output, where the answers go.
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()


if __name__ == "__main__":
    main()
