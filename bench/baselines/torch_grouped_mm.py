"""torch._grouped_mm over the groups of bench/grouped_gemm, the baseline of that benchmark.

    torch_grouped_mm.py --out RESULTS.json [--ranks 2] [--samples 7] [--iterations 10] SHAPE:TOKENS:ROUTING ...

Writes [{"case", "products": {"gate_up_forward": ms, ...}}]. One GPU.
"""

import json
import pathlib
import statistics

import torch

from expert_rows import expert_rows
from timing import arguments_of, seconds_of
from torch_ep import Case


def random(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16) / 64


def products(case, ranks):
    """(name, call) of each product; rows x (out, in), as an expert's."""
    rows = expert_rows(case, case.tokens * case.top_k * ranks)[: case.experts // ranks]  # of rank 0
    offsets = torch.tensor(rows, device="cuda").cumsum(0).to(torch.int32)
    for part, out, inner in (("gate_up", 2 * case.intermediate, case.hidden), ("down", case.hidden, case.intermediate)):
        x, gradient = random(sum(rows), inner), random(sum(rows), out)
        weights = random(len(rows), out, inner)
        yield f"{part}_forward", lambda: torch._grouped_mm(x, weights.transpose(-2, -1), offs=offsets)
        yield f"{part}_dgrad", lambda: torch._grouped_mm(gradient, weights, offs=offsets)
        yield f"{part}_wgrad", lambda: torch._grouped_mm(gradient.t(), x, offs=offsets)


def main():
    arguments = arguments_of()
    results = []
    for text in arguments.cases:
        case = Case(text)
        found = {name: statistics.median(seconds_of(call, arguments)) * 1e3
                 for name, call in products(case, arguments.ranks)}
        results.append({"case": case.name(), "products": found})
        torch.cuda.empty_cache()
    pathlib.Path(arguments.out).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
