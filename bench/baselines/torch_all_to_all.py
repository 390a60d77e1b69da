"""all_to_all_single of the rows of bench/all_to_all, the baseline of that benchmark.

    torch_all_to_all.py --out RESULTS.json [--ranks 2] [--samples 7] [--iterations 10] SHAPE:TOKENS:ROUTING ...

Writes [{"case", "dispatch_ms", "combine_ms"}], medians of the slowest rank; rows lie in the order of their targets
already, so that nothing is timed but the exchange.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from expert_rows import expert_rows
from torch_ep import Case


def seconds_of(call, samples, iterations):
    for _ in range(iterations):
        call()
    found = []
    for _ in range(samples):
        dist.barrier()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(iterations):
            call()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - begin) / iterations)
    return found


def run(rank, arguments):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=arguments.port)
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", rank=rank, world_size=arguments.ranks, device_id=torch.device("cuda", rank),
                            timeout=datetime.timedelta(seconds=120))
    results = []
    for text in arguments.cases:
        case = Case(text)
        local = case.experts // arguments.ranks
        counts = expert_rows(case, case.tokens * case.top_k)
        sent = [sum(counts[host * local : (host + 1) * local]) for host in range(arguments.ranks)]
        received = [sent[rank]] * arguments.ranks
        source = torch.zeros(sum(sent), case.hidden, device="cuda", dtype=torch.bfloat16)
        host = torch.zeros(sum(received), case.hidden, device="cuda", dtype=torch.bfloat16)
        own = {
            "dispatch_ms": seconds_of(lambda: dist.all_to_all_single(host, source, received, sent), arguments.samples,
                                      arguments.iterations),
            "combine_ms": seconds_of(lambda: dist.all_to_all_single(source, host, sent, received), arguments.samples,
                                     arguments.iterations),
        }
        all_ranks = [None] * arguments.ranks
        dist.all_gather_object(all_ranks, own)
        results.append({"case": case.name(), **{
            name: statistics.median(max(times) for times in zip(*(one[name] for one in all_ranks))) * 1e3 for name in own}})
    if rank == 0:
        pathlib.Path(arguments.out).write_text(json.dumps(results))
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--samples", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--port", default="29512")
    parser.add_argument("cases", nargs="+")
    arguments = parser.parse_args()
    mp.spawn(run, args=(arguments,), nprocs=arguments.ranks)


if __name__ == "__main__":
    main()
