#!/usr/bin/env python3
"""Times the MoE layer beside PyTorch's, compares their results, and records both.

    compare.py [--program build/bench/moe_layer_time] [--results bench/results] [--phases] [SHAPE:TOKENS:ROUTING ...]

Needs PyTorch and two GPUs. The two take turns, shape by shape. Appends one object per figure to
<results>/<gpu>x<count>.jsonl and makes <results>/<gpu>x<count>-moe-layer.md of each case's last run in it. Fails when a result differs by
more than 2 % in norm, which is what bfloat16's 8 bits allow over three products and a sum.
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
DIFFERENCE_MAX = 2e-2
COLUMNS = [("ours, ms", "fwd_bwd_ms", "value", ".2f"), ("PyTorch, ms", "fwd_bwd_ms", "baseline", ".2f"),
           ("ratio", "fwd_bwd_ms", "ratio", ".2f"), ("TFLOP/s a GPU", "tflops_per_gpu", "value", ".0f"),
           ("spread", "spread", "value", ".2f"), ("difference", "difference_max", "value", ".1e")]


def all_cases():
    return [f"{shape}:{tokens}:{routing}" for shape in ("mixtral", "deepseek", "qwen3") for tokens in (2048, 8192, 16384)
            for routing in ("balanced", "zipf", "hot_rank")]


def ours(arguments, case, folder):
    shape, tokens, routing = case.split(":")
    to = pathlib.Path(folder, f"{shape}-{tokens}-{routing}")
    to.mkdir()
    command = [arguments.program, "--shape", shape, "--tokens", tokens, "--routing", routing, "--dump", to,
               "--ranks", str(arguments.ranks)]
    if arguments.phases:
        command += ["--phases", "yes"]
    return json.loads(output_of(command, 300).splitlines()[-1])


def theirs(arguments, cases, folder):
    out = pathlib.Path(folder, "torch.json")
    command = [sys.executable, HERE.parent / "baselines" / "torch_ep.py", "--out", out, "--check", folder, "--ranks",
               str(arguments.ranks), *cases]
    output_of(command, 580)
    return json.loads(out.read_text())


def write_page(record, ranks):
    record.page("moe-layer", f"The MoE layer on {ranks} x {record.gpu.upper()}, forward and backward",
                "Baseline: bench/baselines/torch_ep.py. Ratio: baseline / ours. Spread: slowest sample / fastest. Difference: "
                "largest of the outputs and gradients, in norm.", COLUMNS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/bench/moe_layer_time")
    parser.add_argument("--results", default="bench/results")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--phases", action="store_true")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    os.environ["NCCL_NVLS_ENABLE"] = "0"  # multicast can put GPUs that are shared with others out of service
    cases = arguments.cases or all_cases()
    record = Record(arguments.results, arguments.ranks, "moe_layer")
    failed = False
    for shape in dict.fromkeys(case.split(":")[0] for case in cases):
        of_shape = [case for case in cases if case.startswith(shape + ":")]
        with tempfile.TemporaryDirectory() as folder:
            mine = [ours(arguments, case, folder) for case in of_shape]
            others = theirs(arguments, of_shape, folder)
        for own, other in zip(mine, others):
            worst = max(other["differences"].values())
            failed |= not worst <= DIFFERENCE_MAX
            ratio = other["fwd_bwd_ms"] / own["fwd_bwd_ms"]
            record.figure(own["case"], "fwd_bwd_ms", own["fwd_bwd_ms"], "ms", other["fwd_bwd_ms"], ratio)
            record.figure(own["case"], "tflops_per_gpu", own["tflops_per_gpu"], "TFLOP/s")
            record.figure(own["case"], "spread", own["spread"], "ratio")
            record.figure(own["case"], "difference_max", worst, "relative", DIFFERENCE_MAX)
            print(record.rows(COLUMNS)[own["case"]], flush=True)
            if "phases_ms" in own:
                print("   ", {name: round(ms, 2) for name, ms in own["phases_ms"].items()}, flush=True)
            if not worst <= DIFFERENCE_MAX:
                print("    differences", other["differences"], flush=True)
    write_page(record, arguments.ranks)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
