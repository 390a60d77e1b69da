#!/usr/bin/env python3
"""Times dispatch and combine of a layer's rows beside PyTorch's all_to_all_single, and records both.

    compare.py [--program build/bench/all_to_all_time] [--results bench/results] [--ranks 2] [SHAPE:TOKENS:ROUTING ...]

Needs PyTorch and that many GPUs. Appends one object per figure to <results>/<gpu>x<count>.jsonl and makes
<results>/<gpu>x<count>-all-to-all.md of each case's last run in it.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of  # noqa: E402

COLUMNS = [("MB", "busiest_mb", "value", ".0f"), ("dispatch, ms", "dispatch_ms", "value", ".3f"),
           ("PyTorch", "dispatch_ms", "baseline", ".3f"), ("ratio", "dispatch_ms", "ratio", ".2f"),
           ("combine, ms", "combine_ms", "value", ".3f"), ("PyTorch", "combine_ms", "baseline", ".3f"),
           ("ratio", "combine_ms", "ratio", ".2f"), ("GB/s", "gbs", "value", ".0f")]


def write_page(record, ranks):
    record.page("all-to-all", f"Dispatch and combine on {ranks} x {record.gpu.upper()}",
                "Baseline: all_to_all_single of PyTorch. Ratio: baseline / ours. MB: what the busiest rank sends or receives; "
                "GB/s: that over the dispatch.", COLUMNS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/all_to_all_time")
    parser.add_argument("--results", default="bench/results")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    os.environ["NCCL_NVLS_ENABLE"] = "0"  # multicast can put GPUs that are shared with others out of service
    cases = arguments.cases or [f"{shape}:8192:{routing}" for shape in ("mixtral", "deepseek", "qwen3")
                                for routing in ("balanced", "zipf", "hot_rank")]
    record = Record(arguments.results, arguments.ranks, "all_to_all")
    mine = []
    for case in cases:
        shape, tokens, routing = case.split(":")
        text = output_of([arguments.program, "--shape", shape, "--tokens", tokens, "--routing", routing, "--ranks",
                          arguments.ranks], 300)
        mine.append([json.loads(line) for line in text.splitlines()])
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "torch.json")
        output_of([sys.executable, HERE.parent / "baselines" / "torch_all_to_all.py", "--out", out, "--ranks",
                   arguments.ranks, *cases], 580)
        others = json.loads(out.read_text())
    for algorithms, other in zip(mine, others):
        for own in algorithms:
            case = f"{own['case']} {own['algorithm']}"
            record.figure(case, "busiest_mb", own["busiest_mb"], "MB")
            for metric in ("dispatch_ms", "combine_ms"):
                record.figure(case, metric, own[metric], "ms", other[metric], other[metric] / own[metric])
            record.figure(case, "gbs", own["gbs"], "GB/s")
            print(record.rows(COLUMNS)[case], flush=True)
    write_page(record, arguments.ranks)


if __name__ == "__main__":
    main()
