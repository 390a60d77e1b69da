#!/usr/bin/env python3
"""Times the products of experts beside one dense product and torch._grouped_mm, and records all.

    compare.py [--program build/bench/grouped_gemm_time] [--results bench/results] [SHAPE:TOKENS:ROUTING ...]

Needs PyTorch and a GPU. Appends one object per figure to <results>/<gpu>x1.jsonl and writes a table to
<results>/<gpu>x1-grouped-gemm.md.
"""

import argparse
import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of  # noqa: E402

COMMAND = "bench/grouped_gemm/compare.py"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/grouped_gemm_time")
    parser.add_argument("--results", default="bench/results")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    cases = arguments.cases or [f"{shape}:8192:{routing}" for shape in ("mixtral", "deepseek", "qwen3")
                                for routing in ("balanced", "zipf", "hot_rank")]
    record = Record(arguments.results, 1, "grouped_gemm", COMMAND)
    mine = []
    for case in cases:
        shape, tokens, routing = case.split(":")
        mine.append(json.loads(output_of([arguments.program, "--shape", shape, "--tokens", tokens, "--routing", routing], 300)))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "torch.json")
        output_of([sys.executable, HERE.parent / "baselines" / "torch_grouped_mm.py", "--out", out, *cases], 580)
        others = json.loads(out.read_text())
    rows = []
    for own, other in zip(mine, others):
        for name, found in own["products"].items():
            baseline = other["products"][name]
            ratio = baseline / found["ms"]
            share = found["tflops"] / found["dense_tflops"]
            rows.append(f"| {own['case']} {name} | {found['ms']:.3f} | {baseline:.3f} | {ratio:.2f} | {found['tflops']:.0f} | "
                        f"{share:.2f} |")
            print(rows[-1], flush=True)
            record.figure(f"{own['case']} {name}", "ms", found["ms"], "ms", baseline, ratio)
            record.figure(f"{own['case']} {name}", "dense_share", share, "ratio", None, None)
    record.table("grouped-gemm", (
        f"# Products of a rank's experts on {record.stem.split('x')[0].upper()}\n\n"
        f"Written by `{COMMAND}`, {record.date}, commit {record.commit}. Baseline: torch._grouped_mm. Ratio: baseline / ours. "
        "Dense share: rate over that of one product with as many operations.\n\n"
        "| case | ours, ms | PyTorch, ms | ratio | TFLOP/s | dense share |\n| --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows) + "\n"))


if __name__ == "__main__":
    main()
