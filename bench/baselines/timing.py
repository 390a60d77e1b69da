"""How the baselines of single operations are called and timed."""

import argparse
import time

import torch


def arguments_of(port="29510"):
    """--out, --ranks, --samples, --iterations, --port and the cases, SHAPE:TOKENS:ROUTING each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--samples", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--port", default=port)
    parser.add_argument("cases", nargs="+")
    return parser.parse_args()


def seconds_of(call, arguments, meet=lambda: None):
    """[sample] seconds of one call: the mean of `iterations` between two synchronizations. All ranks `meet` before."""
    for _ in range(arguments.iterations):
        call()
    found = []
    for _ in range(arguments.samples):
        meet()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(arguments.iterations):
            call()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - begin) / arguments.iterations)
    return found
