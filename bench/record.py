"""What benchmarks with a baseline share: where figures go, and what they are stamped with."""

import datetime
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def gpu_name():
    """ "h200", or "gpu" where the name says nothing."""
    names = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True,
                           check=True).stdout.split("\n")
    found = re.search(r"[abhg]b?[0-9]{2,3}", names[0], re.IGNORECASE)
    return found.group(0).lower() if found else "gpu"


def commit():
    stored = HERE.parent / "COMMIT"  # of an archive of scripts/pack-gpu
    if stored.exists():
        return stored.read_text().strip()
    return subprocess.run(["git", "-C", HERE, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True,
                          check=True).stdout.strip()


def output_of(command, timeout):
    """What a command printed; ends the program when it failed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


class Record:
    """Appends an object per figure to <folder>/<gpu>x<count>.jsonl."""

    def __init__(self, folder, gpus, bench, command):
        self.stem = f"{gpu_name()}x{gpus}"
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        self.commit = commit()
        self.command = command
        self.bench = bench
        self.file = open(self.folder / (self.stem + ".jsonl"), "a")

    def figure(self, case, metric, value, unit, baseline, ratio):
        stamp = {"bench": self.bench, "case": case, "date": self.date, "commit": self.commit, "command": self.command}
        self.file.write(json.dumps({**stamp, "metric": metric, "value": value, "unit": unit, "baseline": baseline,
                                    "ratio": ratio}) + "\n")
        self.file.flush()

    def table(self, name, text):
        """Writes <folder>/<gpu>x<count>-<name>.md."""
        (self.folder / f"{self.stem}-{name}.md").write_text(text)
