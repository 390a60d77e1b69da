"""all_to_all_single of the rows of bench/all_to_all, the baseline of that benchmark.

    torch_all_to_all.py --out RESULTS.json [--ranks 2] [--samples 7] [--iterations 10] SHAPE:TOKENS:ROUTING ...

Writes [{"case", "dispatch_ms", "combine_ms"}], medians of the slowest rank; rows lie in the order of their targets
already, so that nothing is timed but the exchange.
"""

import json
import pathlib
import statistics

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from expert_rows import expert_rows
from timing import arguments_of, seconds_of
from torch_ep import Case, join


def run(rank, arguments):
    join(rank, arguments.ranks, arguments.port)
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
            "dispatch_ms": seconds_of(lambda: dist.all_to_all_single(host, source, received, sent), arguments, dist.barrier),
            "combine_ms": seconds_of(lambda: dist.all_to_all_single(source, host, sent, received), arguments, dist.barrier),
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
    arguments = arguments_of("29512")
    mp.spawn(run, args=(arguments,), nprocs=arguments.ranks)


if __name__ == "__main__":
    main()
