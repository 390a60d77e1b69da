"""PyTorch's scaled_dot_product_attention, causal, the baseline of bench/attention.

    torch_attention.py --out RESULTS.json [--samples 7] [--iterations 10] SEQUENCES:LENGTH:HEADS:KV_HEADS:SIZE ...

Writes [{"forward_ms", "backward_ms"}]. One GPU.
"""

import json
import pathlib
import statistics

import torch
import torch.nn.functional as F

from timing import arguments_of, seconds_of


def times(case, arguments):
    sequences, length, heads, key_value_heads, size = map(int, case.split(":"))

    def random(count):
        # As a projection leaves them: heads of a token side by side.
        rows = torch.randn(sequences, length, count, size, device="cuda", dtype=torch.bfloat16)
        return rows.transpose(1, 2).requires_grad_()

    q, k, v = random(heads), random(key_value_heads), random(key_value_heads)
    forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    out = forward()
    gradient = torch.randn_like(out)
    backward = lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)
    return {f"{name}_ms": statistics.median(seconds_of(call, arguments)) * 1e3
            for name, call in (("forward", forward), ("backward", backward))}


def main():
    arguments = arguments_of()
    pathlib.Path(arguments.out).write_text(json.dumps([times(case, arguments) for case in arguments.cases]))


if __name__ == "__main__":
    main()
