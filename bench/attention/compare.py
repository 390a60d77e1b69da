#!/usr/bin/env python3
"""Times causal attention beside PyTorch's scaled_dot_product_attention, and records both.

    compare.py [--program build/bench/attention_time] [--results bench/results] [SEQUENCES:LENGTH:HEADS:KV_HEADS:SIZE ...]

Needs PyTorch and a GPU. Appends one object per figure to <results>/<gpu>x1.jsonl and makes
<results>/<gpu>x1-attention.md of each case's last run in it.
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of  # noqa: E402

COLUMNS = [column for part in ("forward", "backward")
           for column in ((f"{part}, ms", f"{part}_ms", "value", ".3f"), ("PyTorch", f"{part}_ms", "baseline", ".3f"),
                          ("ratio", f"{part}_ms", "ratio", ".2f"), ("TFLOP/s", f"{part}_tflops", "value", ".0f"))]
# The example of 1 B parameters, Mixtral 8x7B, Qwen3-30B-A3B.
CASES = ["8:1024:16:4:64", "2:4096:32:8:128", "2:4096:32:4:128"]
FLAGS = ("--sequences", "--length", "--heads", "--key-value-heads", "--head-size")


def write_page(record):
    record.page("attention", f"Causal attention on {record.gpu.upper()}",
                "Baseline: scaled_dot_product_attention of PyTorch. Ratio: baseline / ours.", COLUMNS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/attention_time")
    parser.add_argument("--results", default="bench/results")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    cases = arguments.cases or CASES
    record = Record(arguments.results, 1, "attention")
    mine = []
    for case in cases:
        flags = [word for pair in zip(FLAGS, case.split(":")) for word in pair]
        mine.append(json.loads(output_of([arguments.program, *flags], 120)))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "torch.json")
        output_of([sys.executable, HERE.parent / "baselines" / "torch_attention.py", "--out", out, *cases], 300)
        others = json.loads(out.read_text())
    for own, other in zip(mine, others):
        for part in ("forward", "backward"):
            ratio = other[f"{part}_ms"] / own[f"{part}_ms"]
            record.figure(own["case"], f"{part}_ms", own[f"{part}_ms"], "ms", other[f"{part}_ms"], ratio)
            record.figure(own["case"], f"{part}_tflops", own[f"{part}_tflops"], "TFLOP/s")
        print(record.rows(COLUMNS)[own["case"]], flush=True)
    write_page(record)


if __name__ == "__main__":
    main()
