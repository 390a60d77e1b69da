"""Training steps of a model shaped like Mixtral on PyTorch's public API, the baseline of bench/end_to_end.

    torch_mixtral.py --out RESULTS.json [--ranks 2] [--steps 30] [model and batch, see --help]

Experts are spread over the ranks (the layer is that of torch_ep.py), all else is on each and its gradients are summed.
bfloat16 with float32 master weights and moments (fused AdamW), attention by scaled_dot_product_attention, both auxiliary
losses, gradients clipped. Random tokens: nothing but the time is looked at. Writes {"tokens_per_s", "step_ms", "loss"}, the
median over the last half of the steps, slowest rank.
"""

import argparse
import json
import pathlib
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from torch_ep import AllToAll, join

LOAD_BALANCE, Z_LOSS = 1e-3, 1e-4


def weight(*shape):
    return torch.nn.Parameter(torch.randn(*shape, device="cuda", dtype=torch.float32).mul_(0.02).to(torch.bfloat16))


class RmsNorm(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size, device="cuda", dtype=torch.bfloat16))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)


def rotary(length, size):
    frequencies = 1e6 ** (-torch.arange(0, size, 2, device="cuda", dtype=torch.float32) / size)
    angles = torch.arange(length, device="cuda", dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(torch.bfloat16), angles.sin().to(torch.bfloat16)


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Attention(torch.nn.Module):
    def __init__(self, o):
        super().__init__()
        self.o = o
        self.q = weight(o.heads * o.head_size, o.hidden)
        self.k = weight(o.key_value_heads * o.head_size, o.hidden)
        self.v = weight(o.key_value_heads * o.head_size, o.hidden)
        self.out = weight(o.hidden, o.heads * o.head_size)

    def forward(self, x, cos, sin):
        o = self.o
        split = lambda y, heads: y.view(x.shape[0], x.shape[1], heads, o.head_size).transpose(1, 2)
        q = rotate(split(F.linear(x, self.q), o.heads), cos, sin)
        k = rotate(split(F.linear(x, self.k), o.key_value_heads), cos, sin)
        v = split(F.linear(x, self.v), o.key_value_heads)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return F.linear(y.transpose(1, 2).reshape(x.shape[0], x.shape[1], -1), self.out)


class Experts(torch.nn.Module):
    """Router and experts of a layer; experts `rank * local` and on are here."""

    def __init__(self, o):
        super().__init__()
        self.o = o
        self.local = o.experts // o.ranks
        self.router = weight(o.experts, o.hidden)
        self.w13 = weight(self.local, 2 * o.intermediate, o.hidden)
        self.w2 = weight(self.local, o.hidden, o.intermediate)

    def forward(self, x):
        o = self.o
        logits = F.linear(x, self.router).float()
        probabilities = torch.softmax(logits, -1)
        top, chosen = torch.topk(logits, o.top_k, dim=-1)
        weights = torch.softmax(top, dim=-1)
        flat = chosen.flatten()
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=o.experts)
        balance = o.experts * (counts.float() / flat.numel() * probabilities.mean(0)).sum()
        auxiliary = LOAD_BALANCE * balance + Z_LOSS * torch.logsumexp(logits, -1).square().mean()
        arriving = torch.empty_like(counts)
        dist.all_to_all_single(arriving, counts)
        sent = counts.view(o.ranks, self.local).sum(1).tolist()
        received = arriving.view(o.ranks, self.local).sum(1).tolist()
        rows = AllToAll.apply(x[order // o.top_k], received, sent)
        expert_of = torch.arange(self.local, device=x.device).repeat(o.ranks).repeat_interleave(
            arriving, output_size=rows.shape[0])
        by_expert = torch.argsort(expert_of, stable=True)
        rows = rows[by_expert]
        offsets = arriving.view(o.ranks, self.local).sum(0).cumsum(0).to(torch.int32)
        gate, up = torch._grouped_mm(rows, self.w13.transpose(-2, -1), offs=offsets).chunk(2, dim=-1)
        rows = torch._grouped_mm(F.silu(gate) * up, self.w2.transpose(-2, -1), offs=offsets)
        back = torch.empty_like(by_expert)
        back[by_expert] = torch.arange(len(by_expert), device=x.device)
        rows = AllToAll.apply(rows[back], sent, received)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=x.device)
        rows = rows[place].view(x.shape[0], o.top_k, o.hidden)
        return torch.bmm(weights.to(rows.dtype).unsqueeze(1), rows).squeeze(1), auxiliary


class Layer(torch.nn.Module):
    def __init__(self, o):
        super().__init__()
        self.before_attention, self.attention = RmsNorm(o.hidden), Attention(o)
        self.before_experts, self.experts = RmsNorm(o.hidden), Experts(o)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.before_attention(x), cos, sin)
        out, auxiliary = self.experts(self.before_experts(x).flatten(0, 1))
        return x + out.view_as(x), auxiliary


class Model(torch.nn.Module):
    def __init__(self, o):
        super().__init__()
        self.embedding, self.head = weight(o.vocabulary, o.hidden), weight(o.vocabulary, o.hidden)
        self.layers = torch.nn.ModuleList(Layer(o) for _ in range(o.layers))
        self.norm = RmsNorm(o.hidden)
        self.cos, self.sin = rotary(o.length, o.head_size)

    def forward(self, tokens):
        x = F.embedding(tokens[:, :-1], self.embedding)
        auxiliary = 0
        for layer in self.layers:
            x, own = layer(x, self.cos, self.sin)
            auxiliary = auxiliary + own
        logits = F.linear(self.norm(x), self.head)
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten()), auxiliary


class Training:
    def __init__(self, o):
        self.o = o
        self.model = Model(o)
        named = list(self.model.named_parameters())
        self.spread = [p for name, p in named if name.endswith(("w13", "w2"))]
        self.shared = [p for name, p in named if not name.endswith(("w13", "w2"))]
        for p in self.shared:
            dist.broadcast(p.data, 0)
        self.parameters = self.shared + self.spread
        self.masters = [p.detach().float().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.masters, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(self):
        o = self.o
        sequences = o.batch // o.ranks
        microbatches = sequences // o.microbatch
        for p in self.parameters:
            p.grad = None
        for _ in range(microbatches):
            tokens = torch.randint(o.vocabulary, (o.microbatch, o.length + 1), device="cuda")
            loss, auxiliary = self.model(tokens)
            ((loss + auxiliary) / (microbatches * o.ranks)).backward()
        flat = torch.cat([p.grad.flatten() for p in self.shared])
        dist.all_reduce(flat)
        for p, grad in zip(self.shared, flat.split([p.numel() for p in self.shared])):
            p.grad = grad.view_as(p)
        squares = torch.stack([p.grad.float().square().sum() for p in self.spread]).sum()
        dist.all_reduce(squares)
        squares = squares + flat.float().square().sum()
        scale = (1 / (squares.sqrt() + 1e-6)).clamp(max=1)
        for p, master in zip(self.parameters, self.masters):
            master.grad = p.grad.float() * scale
        self.optimizer.step()
        torch._foreach_copy_([p.data for p in self.parameters], self.masters)
        return loss.item()


def run(rank, o):
    join(rank, o.ranks, o.port)
    torch.manual_seed(rank)
    training = Training(o)
    seconds, loss = [], 0.0
    for _ in range(o.steps):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        loss = training.step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    all_ranks = [None] * o.ranks
    dist.all_gather_object(all_ranks, seconds)
    slowest = [max(times) for times in zip(*all_ranks)][o.steps // 2 :]
    if rank == 0:
        step = statistics.median(slowest)
        pathlib.Path(o.out).write_text(json.dumps(
            {"tokens_per_s": o.batch * o.length / step, "step_ms": step * 1e3, "loss": loss}))
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    for flag, value in {"ranks": 2, "steps": 30, "vocabulary": 257, "hidden": 1024, "layers": 16, "heads": 16,
                        "key-value-heads": 4, "head-size": 64, "experts": 8, "top-k": 2, "intermediate": 2560,
                        "length": 1024, "batch": 32, "microbatch": 8}.items():
        parser.add_argument(f"--{flag}", type=int, default=value)
    parser.add_argument("--port", default="29513")
    options = parser.parse_args()
    mp.spawn(run, args=(options,), nprocs=options.ranks)


if __name__ == "__main__":
    main()
