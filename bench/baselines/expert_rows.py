"""Assignments of each expert, as bench/layer_case/expert_rows.cc."""

import math

from torch_ep import bias


def expert_rows(case, assignments):
    weights = [math.exp(bias(case, expert)) for expert in range(case.experts)]
    rows = [math.floor(assignments * weight / sum(weights)) for weight in weights]
    for expert in range(assignments - sum(rows)):
        rows[expert] += 1
    return rows
