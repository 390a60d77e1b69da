#!/usr/bin/env python3
"""Trains deploy/examples/gpt-moe-1b.yaml with daemons on this machine's GPUs, beside the same model in PyTorch.

    compare.py ARCHIVE [--ranks 2] [--results bench/results] [--steps 60] [--job FILE] [--device cuda] [--no-baseline]

ARCHIVE is cpack's. A coordinator and one worker with a rank on each GPU run over mTLS on loopback; the job plans live, and
plans must become active while it trains (with one rank, which has nothing to plan, it holds all experts). With more ranks
than GPUs each is a worker of its own that shares one and talks over TCP: such a run shows that the job trains, and has no
baseline. Tokens per second: of the median step of the last half. Appends to <results>/<gpu>x<ranks>.jsonl and writes
<results>/<gpu>x<ranks>-end-to-end.md, not where GPUs are shared. --device cpu tries the script itself, with a small --job.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from record import Record, output_of, program  # noqa: E402

DEADLINE_S = 500


def gpus():
    return len(output_of(["nvidia-smi", "--list-gpus"], 20).splitlines())


def workers(arguments):
    """Devices and number of ranks of each worker."""
    if arguments.device == "cpu":
        return [("cpu", arguments.ranks)]
    if arguments.ranks <= gpus():
        return [("cuda:" + ",".join(map(str, range(arguments.ranks))), arguments.ranks)]
    return [(f"cuda:{rank % gpus()}", 1) for rank in range(arguments.ranks)]


class Cluster:
    """A coordinator and its workers; ends with the block."""

    def __init__(self, archive, work, specs):
        self.work, self.specs, self.processes = work, specs, []
        output_of(["tar", "-C", work, "-xf", archive], 120)
        self.bin = next(work.glob("*/bin"))
        output_of([self.bin / "ballastctl", "certs", "dev", "--out", work / "certs", "--operators", "bench", "--workers",
                   ",".join(f"w{i}" for i in range(len(specs)))], 60)
        self.ca = work / "certs" / "ca.pem"

    def __enter__(self):
        self.start("ballast-coordinator", "coordinator", "--listen", "127.0.0.1:0", "--port-file", self.work / "port",
                   "--data-dir", self.work / "state")
        begin = time.monotonic()
        while not (self.work / "port").exists() or "grpc=" not in (self.work / "port").read_text():
            if time.monotonic() - begin > 20:
                sys.exit((self.work / "coordinator.log").read_text()[-2000:])
            time.sleep(0.1)
        port = re.search("grpc=([0-9]+)", (self.work / "port").read_text()).group(1)
        self.coordinator = f"127.0.0.1:{port}"
        for i, (devices, ranks) in enumerate(self.specs):
            # NCCL takes two ranks on one GPU only for ranks of different hosts.
            os.environ["NCCL_HOSTID"] = f"host-{i}"
            self.start("ballast-worker", f"worker-w{i}", "--coordinator", self.coordinator, "--name", f"w{i}", "--node", "host",
                       "--device", devices, "--ranks", ranks, "--data-address", "127.0.0.1")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def start(self, program, certificate, *arguments):
        with open(self.work / f"{certificate}.log", "w") as log:
            self.processes.append(subprocess.Popen(
                [self.bin / program, *map(str, arguments), "--ca", self.ca, "--cert", self.work / "certs" / f"{certificate}.pem",
                 "--key", self.work / "certs" / f"{certificate}.key"], stdout=log, stderr=log))

    def ctl(self, *arguments, timeout=60):
        certificate = self.work / "certs" / "operator-bench"
        return output_of([self.bin / "ballastctl", *arguments, "--coordinator", self.coordinator, "--ca", self.ca, "--cert",
                          f"{certificate}.pem", "--key", f"{certificate}.key"], timeout)


def job_file(arguments, work, data):
    text = pathlib.Path(arguments.job).read_text()
    text = re.sub(r"(?m)^  steps: .*", f"  steps: {arguments.steps}", text)
    text = re.sub(r"(?m)^  evaluate_every: .*", f"  evaluate_every: {arguments.steps}", text)
    text = re.sub(r"(?m)^(      prefix: ).*", rf"\1{data}", text)
    text = re.sub(r"(?m)^  ranks: .*", f"  ranks: {arguments.ranks}", text)
    if arguments.ranks == 1:
        experts = re.search(r"(?m)^    experts: (\d+)", text).group(1)
        text = re.sub(r"(?m)^  slots_per_rank: .*", f"  slots_per_rank: {experts}", text)
    (work / "job.yaml").write_text(text)
    return re.search(r"(?m)^name: (\S+)", text).group(1)


def train(arguments, work):
    with Cluster(arguments.archive, work, workers(arguments)) as cluster:
        headers = sorted(pathlib.Path("/usr/include/c++").iterdir())[-1]
        output_of([cluster.bin / "ballastctl", "data", "prepare", "--out", work / "cpp", headers], 120)
        name = job_file(arguments, work, work / "cpp")
        cluster.ctl("job", "submit", "-f", work / "job.yaml")
        watched = cluster.ctl("job", "watch", name, "-o", "json", timeout=DEADLINE_S)
        steps = [json.loads(line) for line in watched.splitlines() if '"loss"' in line]
        plans = cluster.ctl("plan", "list", name, "-o", "json")
        ranks = json.loads(cluster.ctl("top", name, "--once", "-o", "json"))["ranks"]
        needs = [line for line in (work / "worker-w0.log").read_text().splitlines() if "needs" in line]
    return steps, plans, needs, slowest_phases(ranks)


def slowest_phases(ranks):
    """Milliseconds of each phase of the last step, of the rank that took longest for it."""
    found = {}
    for rank in ranks:
        for phase in rank["phases"]:
            found[phase["phase"]] = max(found.get(phase["phase"], 0), phase["seconds"] * 1e3)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--results", default="bench/results")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--job", default=HERE.parents[1] / "deploy" / "examples" / "gpt-moe-1b.yaml")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--no-baseline", action="store_true")
    arguments = parser.parse_args()
    os.environ["NCCL_NVLS_ENABLE"] = "0"  # multicast can put GPUs that are shared with others out of service
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        steps, plans, needs, phases = train(arguments, work)
        tokens = statistics.median(step["tokens_per_s"] for step in steps[len(steps) // 2 :])
        print("\n".join(needs))
        print(f"{len(steps)} steps, loss {steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f}, {tokens:.0f} tokens/s")
        active = plans.count('"ACTIVE"') - 1  # the first one is the job's own
        print(f"plans that became active: {active}")
        print("ms of the last step:", ", ".join(f"{name} {ms:.1f}" for name, ms in phases.items()))
        if arguments.ranks > 1 and active < 1:
            sys.exit("no plan became active while it trained")
        if arguments.device == "cpu" or arguments.ranks > gpus():
            return
        stored = next(work.glob("*/share/ballast/COMMIT"), None)
        record = Record(arguments.results, arguments.ranks, "end_to_end", stored.read_text().strip() if stored else "unknown")
        other = None
        if not arguments.no_baseline:
            out = work / "torch.json"
            output_of([sys.executable, HERE.parent / "baselines" / "torch_mixtral.py", "--out", out, "--ranks", arguments.ranks], 400)
            other = json.loads(out.read_text())["tokens_per_s"]
        ratio = tokens / other if other else None
        case = f"mixtral-1b T={32768 // arguments.ranks}{' live' if arguments.ranks > 1 else ''}"
        record.figure(case, "tokens_per_s", tokens, "tokens/s", other, ratio)
        record.figure(case, "plans_active", active, "plans")
        record.write("end-to-end", (
            f"# A job of 1 B parameters on {arguments.ranks} x {record.gpu.upper()}\n\nWritten by `{program()}`, {record.date}, "
            f"commit {record.commit}. Baseline: bench/baselines/torch_mixtral.py. Ratio: ours / baseline.\n\n"
            "| steps | loss | tokens/s | PyTorch | ratio | plans that became active |\n| --- | --- | --- | --- | --- | --- |\n"
            f"| {len(steps)} | {steps[0]['loss']:.4f} to {steps[-1]['loss']:.4f} | {tokens:.0f} | "
            f"{'-' if other is None else format(other, '.0f')} | {'-' if ratio is None else format(ratio, '.2f')} | {active} |\n\n"
            "Milliseconds of the last step by phase, of the slowest rank:\n\n| phase | ms |\n| --- | --- |\n"
            + "".join(f"| {name} | {ms:.1f} |\n" for name, ms in phases.items())))


if __name__ == "__main__":
    main()
