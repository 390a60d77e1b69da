"""An expert-parallel MoE layer on PyTorch's public API, the baseline of bench/moe_layer.

all_to_all_single, a sort for the permutation, torch._grouped_mm, autograd. Inputs are those of
bench/moe_layer/inputs.h, made again here; so outputs and gradients can be compared element by element.

    torch_ep.py --out RESULTS.json [--check FOLDER] [--ranks 2] [--samples 7] [--iterations 10] SHAPE:TOKENS:ROUTING ...

--check compares with what `moe_layer_time --dump FOLDER/<shape>-<tokens>-<routing>` wrote.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

SHAPES = {  # hidden, intermediate, experts, top_k
    "mixtral": (4096, 14336, 8, 2),
    "deepseek": (7168, 2048, 64, 8),
    "qwen3": (2048, 768, 128, 8),
    "tiny": (256, 128, 8, 2),
}
X, OUT_GRADIENT, ROUTER, W1, W3, W2 = 1, 2, 3, 4, 5, 6
X_LEVELS = 16
DUMPED_PER_TENSOR = 1 << 16


def wrap(value):
    """An unsigned 64-bit constant as the int64 with its bits."""
    return value - (1 << 64) if value >= 1 << 63 else value


def shift_right(x, bits):
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def upper16(kind, index, elements, device):
    x = torch.arange(elements, dtype=torch.int64, device=device) + (((kind * 1000 + index) << 40) + 0)
    x = x + wrap(0x9E3779B97F4A7C15)
    x = (x ^ shift_right(x, 30)) * wrap(0xBF58476D1CE4E5B9)
    x = (x ^ shift_right(x, 27)) * wrap(0x94D049BB133111EB)
    return shift_right(x ^ shift_right(x, 31), 48)


def levels(upper, count):
    return ((upper * (2 * count + 1)) >> 16) - count


def uniform(kind, index, shape, bound, device):
    scale = torch.tensor(bound / 32768, dtype=torch.float32, device=device)
    values = upper16(kind, index, math.prod(shape), device) - 32768
    return (values.to(torch.float32) * scale).to(torch.bfloat16).view(shape)


def make_x(case, rank, device):
    x = levels(upper16(X, rank, case.tokens * case.hidden, device), X_LEVELS).view(case.tokens, case.hidden)
    x = x.to(torch.float32) / 8
    x[:, :3] = 1
    return x.to(torch.bfloat16)


def bias(case, expert):
    if case.routing == "zipf":
        return -math.log(expert + 1.0)
    if case.routing == "hot_rank":
        return 3.0 if expert < case.experts // 2 else 0.0
    return 0.0


def make_router(case, device):
    x_deviation = math.sqrt(X_LEVELS * (X_LEVELS + 1) / 3.0) / 8
    deviation = 256 / (x_deviation * math.sqrt(case.hidden))
    count = max(1, math.floor(math.sqrt(3 * deviation * deviation + 0.25) - 0.5 + 0.5))
    router = levels(upper16(ROUTER, 0, case.experts * case.hidden, device), count)
    router = router.view(case.experts, case.hidden).to(torch.float32) / 256
    for expert in range(case.experts):
        raw = bias(case, expert) * 2048
        units = int(math.copysign(math.floor(abs(raw) + 0.5), raw)) * 128 + expert
        parts = ((units >> 14) * 16384, (units >> 7 & 127) * 128, units & 127)
        for column, part in enumerate(parts):
            router[expert, column] = part * 2.0**-18
    return router.to(torch.bfloat16)


class Case:
    def __init__(self, text):
        self.shape, tokens, self.routing = text.split(":")
        self.tokens = int(tokens)
        self.hidden, self.intermediate, self.experts, self.top_k = SHAPES[self.shape]

    def name(self):
        return f"{self.shape} T={self.tokens} {self.routing}"

    def folder(self):
        return f"{self.shape}-{self.tokens}-{self.routing}"


class AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, received, sent):
        ctx.counts = received, sent
        out = rows.new_empty(sum(received), rows.shape[1])
        dist.all_to_all_single(out, rows.contiguous(), received, sent)
        return out

    @staticmethod
    def backward(ctx, gradient):
        received, sent = ctx.counts
        out = gradient.new_empty(sum(sent), gradient.shape[1])
        dist.all_to_all_single(out, gradient.contiguous(), sent, received)
        return out, None, None


class RouterLogits(torch.autograd.Function):
    """Products of bfloat16 with float32 sums and results."""

    @staticmethod
    def forward(ctx, x, router):
        ctx.save_for_backward(x, router)
        return torch.mm(x, router.t(), out_dtype=torch.float32)

    @staticmethod
    def backward(ctx, gradient):
        x, router = ctx.saved_tensors
        gradient = gradient.to(torch.bfloat16)
        return gradient @ router, gradient.t() @ x


class Layer:
    def __init__(self, case, rank, ranks):
        self.case, self.rank, self.ranks = case, rank, ranks
        device = torch.device("cuda", rank)
        self.local = case.experts // ranks
        first = rank * self.local
        bound = math.sqrt(3.0 / case.hidden)
        shape = (case.intermediate, case.hidden)
        self.w13 = torch.stack(
            [torch.cat([uniform(kind, first + e, shape, bound, device) for kind in (W1, W3)]) for e in range(self.local)]
        ).requires_grad_()
        down = (case.hidden, case.intermediate)
        self.w2 = torch.stack(
            [uniform(W2, first + e, down, math.sqrt(3.0 / case.intermediate), device) for e in range(self.local)]
        ).requires_grad_()
        self.router = make_router(case, device).requires_grad_()
        self.x = make_x(case, rank, device).requires_grad_()
        self.out_gradient = uniform(OUT_GRADIENT, rank, (case.tokens, case.hidden), 1.0, device)

    def forward(self):
        case = self.case
        logits = RouterLogits.apply(self.x, self.router)
        top, chosen = torch.topk(logits, case.top_k, dim=-1)
        weights = torch.softmax(top, dim=-1)
        flat = chosen.flatten()
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=case.experts)
        arriving = torch.empty_like(counts)
        dist.all_to_all_single(arriving, counts)
        sent = counts.view(self.ranks, self.local).sum(1).tolist()
        received = arriving.view(self.ranks, self.local).sum(1).tolist()
        rows = AllToAll.apply(self.x[order // case.top_k], received, sent)
        # Rows come by (source, expert); experts want them by (expert, source).
        expert_of = torch.arange(self.local, device=flat.device).repeat(self.ranks).repeat_interleave(
            arriving, output_size=rows.shape[0])
        by_expert = torch.argsort(expert_of, stable=True)
        rows = rows[by_expert]
        offsets = arriving.view(self.ranks, self.local).sum(0).cumsum(0).to(torch.int32)
        inner = torch._grouped_mm(rows, self.w13.transpose(-2, -1), offs=offsets)
        gate, up = inner.chunk(2, dim=-1)
        rows = torch._grouped_mm(torch.nn.functional.silu(gate) * up, self.w2.transpose(-2, -1), offs=offsets)
        back = torch.empty_like(by_expert)
        back[by_expert] = torch.arange(len(by_expert), device=flat.device)
        rows = AllToAll.apply(rows[back], sent, received)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=flat.device)
        rows = rows[place].view(case.tokens, case.top_k, case.hidden)
        return torch.bmm(weights.to(rows.dtype).unsqueeze(1), rows).squeeze(1)

    def one_pass(self):
        for tensor in (self.x, self.router, self.w13, self.w2):
            tensor.grad = None
        out = self.forward()
        out.backward(self.out_gradient)
        return out

    def differences(self, folder):
        """Relative differences of what Ballast dumped, by name."""
        out = self.one_pass().detach()
        w1, w3 = self.w13.grad.chunk(2, dim=1)
        step = max(1, self.case.hidden * self.case.intermediate // DUMPED_PER_TENSOR)
        sample = lambda g: g.reshape(self.local, -1)[:, ::step]
        own = {"out": out, "x_gradient": self.x.grad, "router_gradient": self.router.grad, "w1_gradient": sample(w1),
               "w3_gradient": sample(w3), "w2_gradient": sample(self.w2.grad)}
        found = {}
        for name, tensor in own.items():
            data = torch.frombuffer(bytearray(pathlib.Path(folder, f"{name}.{self.rank}").read_bytes()), dtype=torch.float32)
            expected = tensor.flatten().to(torch.float32).cpu()
            found[name] = ((data - expected).norm() / expected.norm()).item()
        return found


def time_layer(layer, samples, iterations):
    for _ in range(3):
        layer.one_pass()
    seconds = []
    for _ in range(samples):
        dist.barrier()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(iterations):
            layer.one_pass()
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begin) / iterations)
    return seconds


def join(rank, ranks, port):
    """Makes this process rank `rank`, on the device of that number."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", rank=rank, world_size=ranks, device_id=torch.device("cuda", rank),
                            timeout=datetime.timedelta(seconds=120))


def run(rank, arguments):
    join(rank, arguments.ranks, arguments.port)
    results = []
    for text in arguments.cases:
        case = Case(text)
        layer = Layer(case, rank, arguments.ranks)
        own = {"seconds": time_layer(layer, arguments.samples, arguments.iterations), "differences": {}}
        folder = pathlib.Path(arguments.check or "", case.folder())
        if arguments.check and folder.exists():
            own["differences"] = layer.differences(folder)
        all_ranks = [None] * arguments.ranks
        dist.all_gather_object(all_ranks, own)
        slowest = [max(rank["seconds"][s] for rank in all_ranks) for s in range(arguments.samples)]
        names = all_ranks[0]["differences"]
        results.append({"case": case.name(), "fwd_bwd_ms": statistics.median(slowest) * 1e3,
                        "differences": {n: max(rank["differences"][n] for rank in all_ranks) for n in names}})
        del layer
        torch.cuda.empty_cache()
    if rank == 0:
        pathlib.Path(arguments.out).write_text(json.dumps(results))
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--check")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--samples", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--port", default="29511")
    parser.add_argument("cases", nargs="+")
    arguments = parser.parse_args()
    mp.spawn(run, args=(arguments,), nprocs=arguments.ranks)


if __name__ == "__main__":
    main()
