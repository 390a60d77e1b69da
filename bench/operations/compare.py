#!/usr/bin/env python3
"""Times the operations that memory bounds beside a copy of as many bytes, and records them.

    compare.py [--program build/bench/operations_time] [--results bench/results] [ARGUMENTS OF THE PROGRAM ...]

Needs a GPU. Appends one object per operation to <results>/<gpu>x1.jsonl and writes a table to
<results>/<gpu>x1-operations.md.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of  # noqa: E402

COMMAND = "bench/operations/compare.py"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/operations_time")
    parser.add_argument("--results", default="bench/results")
    arguments, others = parser.parse_known_args()
    record = Record(arguments.results, 1, "operations", COMMAND)
    found = json.loads(output_of([arguments.program, *others], 300))
    rows = []
    for name, figures in found["operations"].items():
        ratio = figures["gb_s"] / found["copy_gb_s"]
        record.figure(found["case"], f"{name}_ms", figures["ms"], "ms", figures["ms"] * ratio, ratio)
        rows.append(f"| {name} | {figures['ms']:.4f} | {figures['gb_s']:.0f} | {ratio:.2f} |")
        print(rows[-1], flush=True)
    record.table("operations", (
        f"# Operations that memory bounds on {record.stem.split('x')[0].upper()}\n\n"
        f"Written by `{COMMAND}`, {record.date}, commit {record.commit}. {found['case']}, bfloat16. Baseline: a copy of as many "
        f"bytes on the device, {found['copy_gb_s']:.0f} GB/s. Bytes: of the operands that must be read and written, each once. "
        "Ratio: share of the copy's rate.\n\n"
        "| operation | ms | GB/s | ratio |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"))


if __name__ == "__main__":
    main()
