"""How time and memory grow with the number of clients: real training of a small model, and timing-only.

Hierarchical split training (``elsa``, one step of batch 8 per client and edge round) of ``tiny-bert`` on synthetic texts,
on a tree with an edge server for every 50 clients. ``real``: one round. ``timing``: ten rounds, shapes only. ``minilm``:
one step of FedAvg on TREC by 1,000 clients that share one pretrained backbone. ``selection``: FedAvg in timing mode, 100 rounds
with 100 clients each that are drawn of all, on a star.

    python benchmarks/scale.py                         # 10, 100, 1,000, 10,000 clients, both modes, and minilm
    python benchmarks/scale.py --goals                 # what has a goal: 100,000 and 10,000 clients
    python benchmarks/scale.py --mode timing --mode real --figure docs/measurements/scale.png    # time and memory over clients
    python benchmarks/scale.py --mode timing --clients 10000
    python benchmarks/scale.py --mode timing --clients 10000 --profile 40    # the 40 functions with most time
    python benchmarks/scale.py --quick

Each row is measured in a process of its own. CPU s are those of the process, user and system; memory is its peak, everything
included; messages are the transfers among the rows of the event table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring
import workloads

ROUNDS = {"real": 1, "timing": 10, "minilm": 1, "selection": 100}
#: (mode, clients, rounds) -> CPU s and MiB, at most, of one core that does nothing else.
GOALS: dict[tuple[str, int, int], tuple[float, float]] = {
    ("timing", 100_000, 1): (300.0, 6 * 1024.0),
    ("timing", 10_000, 10): (45.0, 2 * 1024.0),
    ("real", 10_000, 1): (50.0, 6 * 1024.0),
    ("selection", 10_000, 100): (60.0, 2 * 1024.0),
}
COLUMNS = ("mode", "clients", "rounds", "CPU s", "goal", "wall s", "math s", "peak MiB", "goal", "rows", "messages", "us a row",
           "written MiB", "simulated s")  # fmt: skip


def scenario_of(mode: str, clients: int, rounds: int, executor: str, threads: int) -> Any:
    """The scenario of a row."""
    from elsa_sim.scenario import model
    from elsa_sim.scenario.document import Document

    if mode == "minilm":
        return workloads.load({"clients": clients, "rounds": rounds, "steps": 1, "batch": 16,
                               "backbone": {"name": "minilm"}}, executor=executor, threads=threads)  # fmt: skip
    data = {
        "name": "scale",
        "protocol": {"kind": "elsa", "rounds": rounds, "edge_rounds": 1, "local_steps": 1},
        "backbone": {"name": "tiny-bert"},
        "task": {"kind": "synthetic", "train_size": max(2000, 8 * clients), "test_size": 400, "batch_size": 8,
                 "max_length": 32},
        "topology": {"kind": "tree", "clients": clients, "edges": max(1, clients // 50),
                     "access": {"up": "20 Mbit/s", "down": "50 Mbit/s", "latency": "10 ms"},
                     "backhaul": {"up": "1 Gbit/s", "down": "1 Gbit/s", "latency": "5 ms"}},
        "devices": {"edge": {"slots": 50, "memory": "1 TiB"}},
        "execution": {"mode": "real" if mode == "real" else "timing", "executor": executor, "threads": threads},
    }  # fmt: skip
    if mode == "selection":
        chosen = {"kind": "uniform", "clients": min(100, clients)}
        data |= {"protocol": {"kind": "fedavg", "rounds": rounds, "local_steps": 1, "selection": chosen},
                 "topology": {"kind": "star", "clients": clients, "access": {"up": "20 Mbit/s", "latency": "10 ms"}},
                 "devices": {}}  # fmt: skip
    return model.validated(Document("scale", data))


def child(arguments: argparse.Namespace) -> None:
    """One row, in this process: prints a JSON object."""
    from elsa_sim.run import simulation

    begin = time.perf_counter()
    loaded = scenario_of(arguments.child, arguments.clients[0], arguments.rounds, arguments.executor, arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.profile:
            import cProfile
            import pstats

            profiler = cProfile.Profile()
            results = profiler.runcall(simulation.run, loaded, Path(folder) / "run")
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(arguments.profile)
        else:
            results = simulation.run(loaded, Path(folder) / "run")
        written = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    found = {"wall_s": time.perf_counter() - begin, "events": len(results.events),
             "messages": int((results.events["kind"] == "transfer").sum()), "written_mib": written / measuring.MIB,
             "sim_s": results.summary["sim_time_s"], "math_s": results.summary["host"]["math_s"],
             "rss_mib": measuring.own_peak_mib()}  # fmt: skip
    print(json.dumps(found))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=list(ROUNDS), action="append")
    parser.add_argument("--clients", type=int, nargs="+")
    parser.add_argument("--rounds", type=int, help="instead of 1 (real) or 10 (timing)")
    parser.add_argument("--executor", default="batched")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--profile", type=int, metavar="N", help="one row here, with the N functions that take most time"
    )
    parser.add_argument("--quick", action="store_true", help="10 and 100 clients only")
    parser.add_argument("--goals", action="store_true", help="the rows that have a goal")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw CPU time and memory over clients")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child or arguments.profile:
        arguments.child = arguments.child or arguments.mode[0]
        arguments.rounds = arguments.rounds or ROUNDS[arguments.child]
        child(arguments)
        return
    print(measuring.machine(arguments.threads))
    rows, measured = [], []
    for mode, clients, rounds in list(GOALS) if arguments.goals else asked(arguments):
        command = measuring.python(__file__, "--child", mode, "--clients", str(clients), "--rounds", str(rounds),
                                   "--executor", arguments.executor, "--threads", str(arguments.threads))  # fmt: skip
        got = measuring.measured(command, threads=arguments.threads)
        if "failed" in got:
            rows.append([mode, f"{clients:,}", str(rounds), *["-"] * (len(COLUMNS) - 4), got["failed"]])
            continue
        cpu, memory = (
            (f"{goal:,.0f}" for goal in GOALS[mode, clients, rounds]) if (mode, clients, rounds) in GOALS else ("", "")
        )
        rows.append([mode, f"{clients:,}", str(rounds), f"{got['cpu_s']:.1f}", cpu, f"{got['wall_s']:.1f}",
                     f"{got['math_s']:.1f}", f"{got['peak_mib']:,.0f}", memory, f"{got['events']:,}", f"{got['messages']:,}",
                     f"{1e6 * got['cpu_s'] / got['events']:.0f}", f"{got['written_mib']:.1f}", f"{got['sim_s']:.1f}"])  # fmt: skip
        measured.append((mode, rounds, clients, got["cpu_s"], got["peak_mib"]))
        print(f"{mode} {clients}: {got['cpu_s']:.1f} CPU s", file=sys.stderr, flush=True)
    measuring.print_table("Growth with the number of clients", COLUMNS, rows)
    if arguments.figure is not None:
        draw(measured, arguments.figure)


def asked(arguments: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Mode, clients and rounds of each row."""
    found = []
    for mode in arguments.mode or ROUNDS:
        usual = [1000] if mode == "minilm" else [10, 100, 1000, 10_000]
        for clients in arguments.clients or ([c for c in usual if c <= 100] or [20] if arguments.quick else usual):
            found.append((mode, clients, arguments.rounds or ROUNDS[mode]))
    return found


def draw(measured: Sequence[tuple[str, int, int, float, float]], path: Path) -> None:
    """CPU time and peak memory over clients, a line per mode and number of rounds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for mode, rounds in dict.fromkeys(row[:2] for row in measured):
        clients, cpu, memory = zip(*sorted(row[2:] for row in measured if row[:2] == (mode, rounds)), strict=True)
        label = f"{mode}, {rounds} round{'s' if rounds > 1 else ''}"
        left.plot(clients, cpu, marker="o", label=label)
        right.plot(clients, [each / 1024.0 for each in memory], marker="o", label=label)
    for axes, what in ((left, "CPU time (s)"), (right, "Peak memory (GiB)")):
        axes.set(xscale="log", yscale="log", xlabel="Clients", ylabel=what)
        axes.grid(True, which="major", alpha=0.3)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    left.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
