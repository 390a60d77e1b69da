#!/usr/bin/env python3
"""Times the products of experts beside one dense product and torch._grouped_mm, and records all.

    compare.py [--program build/bench/grouped_gemm_time] [--results bench/results] [SHAPE:TOKENS:ROUTING ...]

Needs PyTorch and a GPU. Appends one object per figure to <results>/<gpu>x1.jsonl and makes
<results>/<gpu>x1-grouped-gemm.md of each case's last run in it.
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of  # noqa: E402

COLUMNS = [("ours, ms", "ms", "value", ".3f"), ("PyTorch, ms", "ms", "baseline", ".3f"), ("ratio", "ms", "ratio", ".2f"),
           ("TFLOP/s", "tflops", "value", ".0f"), ("dense share", "dense_share", "value", ".2f")]


def write_page(record):
    record.page("grouped-gemm", f"Products of a rank's experts on {record.gpu.upper()}",
                "Baseline: torch._grouped_mm. Ratio: baseline / ours. Dense share: rate over that of one product with as many "
                "operations.", COLUMNS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/grouped_gemm_time")
    parser.add_argument("--results", default="bench/results")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    cases = arguments.cases or [f"{shape}:8192:{routing}" for shape in ("mixtral", "deepseek", "qwen3")
                                for routing in ("balanced", "zipf", "hot_rank")]
    record = Record(arguments.results, 1, "grouped_gemm")
    mine = []
    for case in cases:
        shape, tokens, routing = case.split(":")
        mine.append(json.loads(output_of([arguments.program, "--shape", shape, "--tokens", tokens, "--routing", routing], 300)))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "torch.json")
        output_of([sys.executable, HERE.parent / "baselines" / "torch_grouped_mm.py", "--out", out, *cases], 580)
        others = json.loads(out.read_text())
    for own, other in zip(mine, others):
        for name, found in own["products"].items():
            case = f"{own['case']} {name}"
            baseline = other["products"][name]
            record.figure(case, "ms", found["ms"], "ms", baseline, baseline / found["ms"])
            record.figure(case, "tflops", found["tflops"], "TFLOP/s")
            record.figure(case, "dense_share", found["tflops"] / found["dense_tflops"], "ratio")
            print(record.rows(COLUMNS)[case], flush=True)
    write_page(record)


if __name__ == "__main__":
    main()
