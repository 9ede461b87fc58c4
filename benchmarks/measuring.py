"""What the scripts of this folder share: programs measured in processes of their own, interleaved, and tables of medians."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MIB = 1 << 20


def measured(
    command: Sequence[str], *, threads: int, cores: int | None = None, timeout_s: float = 3600.0
) -> dict[str, Any]:
    """Run a program that prints a JSON object as its last line.

    Returns that object, with ``cpu_s`` and ``peak_mib`` of the program and its children (shared memory counted once); or
    ``{"failed": reason}``. A program whose children outlive it tells ``cpu_s`` itself. ``cores`` is the number of cores it
    may use, ``threads`` what libraries are told.
    """
    count = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    environment = {**os.environ, **count, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    allowed = None if cores is None else sorted(os.sched_getaffinity(0))[:cores]
    begin = time.perf_counter()
    child = subprocess.Popen(list(command), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=None if allowed is None else lambda: os.sched_setaffinity(0, allowed))  # fmt: skip
    peak = _Peak(child.pid)
    peak.start()
    before = os.times()
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return {"failed": f"took more than {timeout_s:.0f} s"}
    finally:
        peak.over.set()
    after = os.times()
    if child.returncode:
        return {"failed": (err.strip().splitlines() or [f"exit status {child.returncode}"])[-1][:200]}
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return found | {"cpu_s": max(cpu, found.get("cpu_s", 0.0)), "process_s": time.perf_counter() - begin,
                    "peak_mib": max(peak.bytes / MIB, found.get("rss_mib", 0.0))}  # fmt: skip


def own_peak_mib() -> float:
    """The most memory that this program has held (MiB); what `getrusage` tells begins with that of the program that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


def python(script: str | Path, *arguments: str) -> list[str]:
    """The command that runs a script of this folder with this interpreter."""
    return [sys.executable, str(script), *arguments]


class _Peak(threading.Thread):
    """Watches the memory of a process and its descendants: the largest sum of their proportional shares."""

    def __init__(self, pid: int, every_s: float = 1.0) -> None:
        super().__init__(daemon=True)
        self.pid, self.every_s, self.bytes, self.over = pid, every_s, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(self.every_s):
            self.bytes = max(self.bytes, sum(map(_share, _tree(self.pid))))


def _tree(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        each = todo.pop()
        found.append(each)
        try:
            todo += [int(c) for t in Path(f"/proc/{each}/task").iterdir() for c in (t / "children").read_text().split()]
        except OSError:
            continue  # it has ended
    return found


def tree_cpu_s(pid: int) -> float:
    """Processor time so far of a process and of its descendants that live (s)."""
    return sum(map(_cpu_s, _tree(pid)))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has ended
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")  # with children that were waited for


def _share(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of every number over repetitions; the first failure, if there is one."""
    failed = [run for run in runs if "failed" in run]
    if failed:
        return dict(failed[0])
    return {k: statistics.median(r[k] for r in runs) if isinstance(v, int | float) else v for k, v in runs[0].items()}


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, as it stands in docs/measurements/benchmarks.md."""
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def machine(threads: int, cores: int | None = None) -> str:
    """One line on where this was measured."""
    import torch

    have = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (f"{min(cores or have, have)} of {os.cpu_count()} cores, {threads} threads, load before {load:.1f}, "
            f"Python {platform.python_version()}, torch {torch.__version__}")  # fmt: skip
