"""Does any input make the program fail otherwise than it says? Many drawn inputs through the command line, in one process each.

    python benchmarks/fuzz.py --count 10000 --seed 1

Every case is the files and the command line that ``fuzz_cases.py`` draws from the seed and the case's number. A forked process
calls the same `main` as the command ``elsa-sim``; its parent ends it where it takes too long. Failures are those of
:func:`verdict`; each shape of message is written once, with the input and a command that repeats it. See docs/testing.md.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import math
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fuzz_cases
from fuzz_cases import SHORT, Case, case

HANGS_AFTER_S = 10.0  # of processor time; a busy machine is no hang
LOST_AFTER_S = 120.0  # of time on the clock
MORE_MEMORY = 3 * 2**30  # bytes beyond what the imports take
#: Runs of more local steps than this are long, not endless, and are not played.
MOST_STEPS = 3000
UNMEANT = ("Traceback (most recent call last)", "this should not happen", "the run broke off", "invariants violated", "Warning: ",
           "memory of this machine", "'type='", "errors.pydantic")  # fmt: skip
COMPLETE = {"seed": 1, "protocol": {"kind": "elsa", "rounds": 2, "local_steps": 2, "edge_rounds": 1},
            "task": {"kind": "synthetic", "train_size": 60, "test_size": 10, "batch_size": 4}}  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a case ended: ``ok``, ``refused``, ``stopped`` (the run failed as it is meant to) or ``failed``."""

    outcome: str
    said: str = ""
    arguments: Sequence[str] = ()
    played: bool = False


def called(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit status, and what is said on standard error, of ``elsa-sim ARGUMENTS``, in this process."""
    from elsa_sim.cli import commands

    told, status = io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", RuntimeWarning)
        with patch.object(sys, "argv", ["elsa-sim", *arguments]):
            try:
                commands.main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException as error:
                import traceback

                return 1, told.getvalue() + "".join(traceback.format_exception(error))
    return status, told.getvalue()


def verdict(status: int, said: str, *, running: bool = False) -> Ended:
    """What an exit status and its message are worth; a scenario that was checked must not be refused by its run."""
    unmeant = [each for each in UNMEANT if each in said]
    if status not in (0, 2, 3) or unmeant:
        return Ended("failed", f"status {status}: {said}")
    if status and not re.match(r"elsa-sim: \S|Usage: ", said):
        return Ended("failed", f"status {status} without a message: {said!r}")
    if status == 2 and running:
        return Ended("failed", f"checked without a fault, then refused: {said}")
    if status == 3 and (not running or said.count("\n") > 1):
        return Ended("failed", f"status 3: {said}")
    return Ended({0: "ok", 2: "refused", 3: "stopped"}[status], said)


def strange(summary: Path) -> list[str]:
    """Numbers of a run's summary that cannot be: not finite, or below 0."""
    found = []

    def look(value: Any, place: str) -> None:
        if isinstance(value, dict | list):
            for key, each in value.items() if isinstance(value, dict) else enumerate(value):
                look(each, f"{place}.{key}")
        elif isinstance(value, float | int) and (not math.isfinite(value) or value < 0):
            found.append(f"{place} is {value}")

    look(json.loads(summary.read_text(encoding="utf-8")), "summary")
    return found


def steps(arguments: Sequence[str]) -> float:
    """Local steps of the run, and what else makes it long without being endless."""
    from elsa_sim.scenario.model import load

    sets = [each for name, each in pairwise(arguments) if name == "--set"]
    scenario = load(arguments[1], sets).scenario
    protocol = scenario.protocol
    clients = getattr(scenario.topology, "clients", None) or 4
    most: float = protocol.steps(clients)
    for key in ("edge_rounds", "evaluate_every", "edge_merges", "buffer"):
        most *= max(1, getattr(protocol, key, 1) or 1) if key not in ("edge_rounds",) else 1
    return most


def played(each: Case, run: bool) -> Ended:
    """One case in the current folder: checked, and perhaps run for two rounds."""
    ended = verdict(*called(each.arguments))
    if ended.outcome != "ok" or not each.runs or not run:
        return Ended(ended.outcome, ended.said, each.arguments)
    sets = [word for change in (*each.changes, *SHORT) for word in ("--set", change)]
    arguments = ["run", "scenario.yaml", *sets, "--quiet", "--out", "out"]
    check = ["check", *arguments[1:-3]]
    if called(check)[0] != 0 or steps(check) > MOST_STEPS:  # it needs arithmetic, or long
        return Ended("ok", "", each.arguments)
    status, said = called(arguments)
    ended = verdict(status, said, running=True)
    if ended.outcome == "ok":
        wrong = strange(Path("out/summary.json"))
        ended = Ended("failed", f"strange numbers: {'; '.join(wrong)}") if wrong else ended
    return Ended(ended.outcome, ended.said, arguments, played=True)


def written(each: Case, folder: Path) -> None:
    """The files of a case in a folder of their own."""
    for name, content in each.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def work(pipe: Connection, parents: Connection, seed: int, share: float, stacks: str) -> None:
    """Play the cases whose numbers come through ``pipe``, and send back how they ended."""
    os.setpgrp()
    parents.close()  # so that the end of the parent is the end of the pipe
    with open(stacks, "w", encoding="utf-8") as file:
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MORE_MEMORY, resource.RLIM_INFINITY))
        path = list(sys.path)
        while (number := pipe.recv()) is not None:
            each = case(seed, number)
            with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
                os.chdir(folder)
                written(each, Path(folder))
                pipe.send((each.kind, played(each, random.Random(number).random() < share)))
                os.chdir("/")
            sys.path[:] = path


@contextlib.contextmanager
def ready() -> Iterator[None]:
    """All that is imported or made once; figures are drawn by nobody but ``plot``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from elsa_sim.cli import run as run_command
    from elsa_sim.results import plots
    from elsa_sim.results.plots import save
    from elsa_sim.run import builder, checks, simulation
    from elsa_sim.scenario import schema
    from elsa_sim.scenario.document import parse
    from elsa_sim.scenario.model import validated

    assert all((plots, builder, checks, schema.schema()))
    with tempfile.TemporaryDirectory() as folder:
        simulation.run(validated(parse(json.dumps(COMPLETE), "complete.yaml")), Path(folder))
        fuzz_cases.PLAYED |= {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    everyone = save._for

    def some(runs: Sequence[Any]) -> list[Any]:
        return random.sample(everyone(runs), 3)

    sooner = patch.object(simulation, "STUCK", 2_000)  # small runs are stuck sooner
    with sooner, patch.object(run_command, "write_figures", lambda *_: []), patch.object(save, "_for", some):
        yield


class Worker:
    """A forked process, and since when it has been at its case."""

    def __init__(self, seed: int, share: float, folder: Path, number: int) -> None:
        self.stacks = folder / f"stack{number}"
        self.pipe, theirs = multiprocessing.get_context("fork").Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(
            target=work, args=(theirs, self.pipe, seed, share, str(self.stacks)), daemon=True
        )
        self.process.start()
        theirs.close()
        self.number, self.began, self.spent = -1, 0.0, 0.0

    def seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def begin(self, number: int) -> None:
        self.number, self.began, self.spent = number, time.monotonic(), self.seconds()
        self.pipe.send(number)

    def hangs(self) -> bool:
        return self.seconds() - self.spent > HANGS_AFTER_S or time.monotonic() - self.began > LOST_AFTER_S

    def end(self) -> str:
        """End it; where it was."""
        before = self.stacks.stat().st_size if self.stacks.exists() else 0
        if self.process.is_alive() and self.process.pid:
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(0.3)
            self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.stacks.read_text(encoding="utf-8")[before:] if self.stacks.exists() else ""


def shape(said: str) -> str:
    """A message without its numbers and names, or the places of a stack, so that a fault is told once."""
    stack = re.findall(r'File "[^"]*?(\w+/\w+\.py)", line (\d+)', said)
    if stack:
        own = [f"{file}:{line}" for file, line in stack if "site-packages" not in file]
        return " ".join((own or ["?"])[:3] if "most recent call first" in said else (own or ["?"])[-3:])
    told = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", said)
    told = told.partition("\n  ")[2] or told
    return re.sub(r"-?\b\d[\w.+]*(?:-\d+)?|\binf\b|\bnan\b", "#", told)[:160]


def fuzzed(numbers: Sequence[int], seed: int, share: float, jobs: int) -> Iterator[tuple[int, str, Ended, float]]:
    """Number, kind, ending and seconds of each case, as they end."""
    with tempfile.TemporaryDirectory() as folder, ready():
        left = iter(numbers)
        made = 0

        def started() -> Worker | None:
            nonlocal made
            number = next(left, None)
            if number is None:
                return None
            made += 1
            worker = Worker(seed, share, Path(folder), made)
            worker.begin(number)
            return worker

        workers = [worker for worker in (started() for _ in range(jobs)) if worker]
        while workers:
            for place, worker in enumerate(tuple(workers)):
                kind, ended = "", None
                try:
                    if worker.pipe.poll(0.5 / len(workers)):
                        kind, ended = worker.pipe.recv()
                    elif worker.hangs():
                        ended = Ended("failed", f"no end after {HANGS_AFTER_S:g} s: {worker.end()}")
                except (EOFError, ConnectionError):
                    ended = Ended("failed", f"the process died: {worker.end()}")
                if ended is None:
                    continue
                yield worker.number, kind or case(seed, worker.number).kind, ended, time.monotonic() - worker.began
                if kind:
                    number = next(left, None)
                    worker.pipe.send(None) if number is None else worker.begin(number)
                    if number is not None:
                        continue
                    worker.process.join()
                    workers[place] = None  # type: ignore[call-overload]
                else:
                    workers[place] = started()  # type: ignore[call-overload]
            workers = [worker for worker in workers if worker]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--runs", type=float, default=0.3, help="share of the scenarios without a fault that are run")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path(".fuzz"), help="where failures are written")
    asked = parser.parse_args()
    shutil.rmtree(asked.out, ignore_errors=True)
    told: Counter[tuple[str, str]] = Counter()
    seconds: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    runs, begin = 0, time.monotonic()
    for number, kind, ended, took in fuzzed(
        range(asked.first, asked.first + asked.count), asked.seed, asked.runs, asked.jobs
    ):
        told[kind, ended.outcome] += 1
        seconds[kind] += took
        runs += ended.played
        if sum(told.values()) % 1000 == 0:
            print(f"{sum(told.values())} cases, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        if ended.outcome == "failed":
            found = shape(ended.said)
            seen[found] += 1
            if seen[found] == 1:
                folder = asked.out / f"{len(seen):03d}"
                written(case(asked.seed, number), folder)
                again = f"python benchmarks/fuzz.py --seed {asked.seed} --first {number} --count 1 --runs 1"
                words = " ".join(map(repr, ended.arguments))
                (folder / "failure.txt").write_text(
                    f"{ended.said}\n{again}\nelsa-sim {words}\n", errors="backslashreplace"
                )
                print(f"{folder}  {kind}: {ended.said[:300].encode('ascii', 'backslashreplace').decode()}", flush=True)
    took = time.monotonic() - begin
    outcomes = ("ok", "refused", "stopped", "failed")
    print("| kind | cases | " + " | ".join(outcomes) + " | s |\n|---|---|---|---|---|---|---|")
    for kind in sorted(seconds):
        counts = [told[kind, outcome] for outcome in outcomes]
        print(f"| {kind} | {sum(counts)} | " + " | ".join(map(str, counts)) + f" | {seconds[kind]:.0f} |")
    print(f"{sum(told.values())} cases, {runs} of them runs, in {took:.0f} s: {sum(told.values()) / took:.1f} a second; "
          f"{sum(seen.values())} failed, of {len(seen)} shapes")  # fmt: skip
    sys.exit(bool(seen))


if __name__ == "__main__":
    main()
