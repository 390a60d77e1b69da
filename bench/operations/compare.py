#!/usr/bin/env python3
"""Times the operations that memory bounds beside a copy of as many bytes, and records them.

    compare.py [--program build/bench/operations_time] [--results bench/results] [ARGUMENTS OF THE PROGRAM ...]

Needs a GPU. Appends one object per figure to <results>/<gpu>x1.jsonl and makes
<results>/<gpu>x1-operations.md of each operation's last run in it.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of  # noqa: E402

COLUMNS = [("ms", "ms", "value", ".4f"), ("GB/s", "gb_s", "value", ".0f"), ("copy, GB/s", "gb_s", "baseline", ".0f"),
           ("ratio", "gb_s", "ratio", ".2f")]


def write_page(record):
    record.page("operations", f"Operations that memory bounds on {record.gpu.upper()}",
                "In bfloat16. Baseline: a copy of as many bytes on the device. Bytes: of the operands that must be read and "
                "written, each once. Ratio: share of the copy's rate.", COLUMNS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/operations_time")
    parser.add_argument("--results", default="bench/results")
    arguments, others = parser.parse_known_args()
    record = Record(arguments.results, 1, "operations")
    found = json.loads(output_of([arguments.program, *others], 300))
    for name, figures in found["operations"].items():
        case = f"{found['case']} {name}"
        ratio = figures["gb_s"] / found["copy_gb_s"]
        record.figure(case, "ms", figures["ms"], "ms", figures["ms"] * ratio, ratio)
        record.figure(case, "gb_s", figures["gb_s"], "GB/s", found["copy_gb_s"], ratio)
        print(record.rows(COLUMNS)[case], flush=True)
    write_page(record)


if __name__ == "__main__":
    main()
