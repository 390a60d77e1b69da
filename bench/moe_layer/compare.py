#!/usr/bin/env python3
"""Times the MoE layer beside PyTorch's, compares their results, and records both.

    compare.py [--program build/bench/moe_layer_time] [--results bench/results] [--phases] [SHAPE:TOKENS:ROUTING ...]

Needs PyTorch and two GPUs. The two take turns, shape by shape. Appends one object per figure to
<results>/<gpu>x<count>.jsonl and writes a table to <results>/<gpu>x<count>-moe-layer.md. Fails when a result differs by
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
COMMAND = "bench/moe_layer/compare.py"


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
    record = Record(arguments.results, arguments.ranks, "moe_layer", COMMAND)
    rows, failed = [], False
    for shape in dict.fromkeys(case.split(":")[0] for case in cases):
        of_shape = [case for case in cases if case.startswith(shape + ":")]
        with tempfile.TemporaryDirectory() as folder:
            mine = [ours(arguments, case, folder) for case in of_shape]
            others = theirs(arguments, of_shape, folder)
        for own, other in zip(mine, others):
            worst = max(other["differences"].values())
            failed |= not worst <= DIFFERENCE_MAX
            ratio = other["fwd_bwd_ms"] / own["fwd_bwd_ms"]
            rows.append(f"| {own['case']} | {own['fwd_bwd_ms']:.2f} | {other['fwd_bwd_ms']:.2f} | {ratio:.2f} | "
                        f"{own['tflops_per_gpu']:.0f} | {own['spread']:.2f} | {worst:.1e} |")
            print(rows[-1], flush=True)
            if "phases_ms" in own:
                print("   ", {name: round(ms, 2) for name, ms in own["phases_ms"].items()}, flush=True)
            if not worst <= DIFFERENCE_MAX:
                print("    differences", other["differences"], flush=True)
            record.figure(own["case"], "fwd_bwd_ms", own["fwd_bwd_ms"], "ms", other["fwd_bwd_ms"], ratio)
            record.figure(own["case"], "difference_max", worst, "relative", DIFFERENCE_MAX, None)
    head = (f"# The MoE layer on {arguments.ranks} x {record.stem.split('x')[0].upper()}, forward and backward\n\n"
            f"Written by `{COMMAND}`, {record.date}, commit {record.commit}. Baseline: bench/baselines/torch_ep.py. Ratio: "
            "baseline / ours. Spread: slowest sample / fastest. Difference: largest of the outputs and gradients, in norm.\n\n"
            "| case | ours, ms | PyTorch, ms | ratio | TFLOP/s a GPU | spread | difference |\n| --- | --- | --- | --- | --- | --- | --- |\n")
    record.table("moe-layer", head + "\n".join(rows) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
