"""What benchmarks with a baseline share: where figures go, and what they are stamped with."""

import datetime
import json
import pathlib
import re
import shlex
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
    git = ["git", "-C", HERE.parent]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ":!bench/results"]).returncode != 0
    return head + (" with local changes" if changed else "")


def program():
    """The script that runs, from the root of the tree."""
    return str(pathlib.Path(sys.argv[0]).resolve().relative_to(HERE.parent))


def command():
    """What was run: paths as they were given, of an archive the name alone."""
    return shlex.join([program()] + [pathlib.Path(word).name if word.endswith(".tar.xz") else word for word in sys.argv[1:]])


def output_of(command, timeout):
    """What a command printed; ends the program when it failed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


def last_runs(figures, bench):
    """Case to {metric: figure} of the case's last run, in the order in which cases first appear."""
    runs = {}
    for figure in figures:
        if figure["bench"] != bench:
            continue
        of_case = runs.setdefault(figure["case"], {})
        # Figures of two runs never stand in one row, also where the later one has fewer.
        if of_case and any(figure[stamp] != next(iter(of_case.values()))[stamp] for stamp in ("date", "commit", "command")):
            of_case.clear()
        of_case[figure["metric"]] = figure
    return runs


def cell(figure, field, form):
    value = (figure or {}).get(field)
    return "-" if value is None else format(value, form)


class Record:
    """Appends an object per figure to <folder>/<gpu>x<count>.jsonl, and makes pages for people from that file.

    Columns of a page are (heading, metric, "value", "baseline" or "ratio", format).
    """

    def __init__(self, folder, gpus, bench, of_commit=None):
        self.gpu = gpu_name()
        self.stem = f"{self.gpu}x{gpus}"
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        self.commit = of_commit or commit()
        self.bench = bench
        self.path = self.folder / (self.stem + ".jsonl")

    def figure(self, case, metric, value, unit, baseline=None, ratio=None):
        stamp = {"bench": self.bench, "case": case, "date": self.date, "commit": self.commit, "command": command()}
        with open(self.path, "a") as file:
            file.write(json.dumps({**stamp, "metric": metric, "value": value, "unit": unit, "baseline": baseline,
                                   "ratio": ratio}) + "\n")

    def rows(self, columns):
        """Case to its row: the cells of its last run, and that run's date and commit."""
        rows = {}
        for case, run in last_runs(map(json.loads, self.path.read_text().splitlines()), self.bench).items():
            stamp = next(iter(run.values()))
            cells = [cell(run.get(metric), field, form) for _, metric, field, form in columns]
            rows[case] = f"| {' | '.join([case, *cells, stamp['date'], stamp['commit']])} |"
        return rows

    def page(self, name, title, note, columns):
        """Writes <folder>/<gpu>x<count>-<name>.md: each case's last run, also of cases that this run left out."""
        head = ["case", *(heading for heading, *_ in columns), "date", "commit"]
        self.write(name, f"# {title}\n\nWritten by `{program()}` from {self.path.name}: the last run of each case. {note}\n\n"
                   f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n" + "\n".join(self.rows(columns).values()) + "\n")

    def write(self, name, text):
        (self.folder / f"{self.stem}-{name}.md").write_text(text)
