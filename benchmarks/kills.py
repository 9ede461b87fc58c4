"""Kills runs and studies at random moments, and runs them on disks that are too small: is anything lost?

    python benchmarks/kills.py                            # 200 kills, 50 disks: the record; goes on where it was stopped
    python benchmarks/kills.py --kills 60 --disks 15 --seed 1
    make kills KILLS=60 DISKS=15

A trial begins a run in a fresh folder, one that is to replace a run that finished (`--force`, with a stranger's file in its
folder), or a study that has some cells already; and sends it SIGKILL, SIGTERM or SIGINT (two, sometimes), at a moment drawn
from the time that it takes, or soon after a file appeared that it writes while it begins, closes or draws figures. Disks are
tmpfs of a few kB to 2 MB (needs root; left out otherwise). After each trial:

* every run directory, `.partial` ones included, loads, or is refused in one line; without a folder nothing was recorded
* what finished is there: the run that was to be replaced, unless the new one finished; cells of the study, unchanged
* a stranger's file is there; status and what is said are as documented (no traceback, one line)
* the same command (`--force`), or the study again, ends with status 0 and leaves no `.partial` (every fourth trial)

Runs are a forked copy of a process that has imported everything, so that kills come in runs and not in imports; every eighth
is a process of its own, and studies with two jobs are. Results are kept in `--out` (default `runs/kills`), a line per trial.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from killing import SIGNALS, Trial, disk, judged, kill, run, runs_in, states, study

from elsa_sim.results import metrics, plots
from elsa_sim.results.manifest import finished, listed
from elsa_sim.run import simulation
from elsa_sim.scenario.model import load
from elsa_sim.study import cells, read

SCENARIO = """\
protocol: {kind: fedavg, rounds: 30, local_steps: 2}
task: {kind: synthetic, train_size: 60, test_size: 10, batch_size: 4}
topology: {kind: tree, clients: 3, edges: 1, access: {up: 10 Mbit/s, latency: 10 ms}, backhaul: {up: 1 Gbit/s}}
execution: {mode: timing}
"""
STUDY = """\
scenario: small.yaml
seeds: [1, 2]
axes: {protocol.local_steps: [1, 2], protocol.rounds: [20]}
metrics: [sim_time_s, bytes.total]
"""
#: Files whose appearance is a moment worth a kill, within a run directory or its partial.
MOMENTS = (".lock", "topology.json", "events.arrows", "events.parquet", "rounds.csv", "summary.json", "trace.json", "figures",
           "figures/timeline.png", "manifest.json.partial", "manifest.json")  # fmt: skip


def killed_run(folder: Path, chance: random.Random, how: str, times: dict[str, float], whole: Path) -> dict[str, Any]:
    """A run is killed, in a fresh folder or over one that finished."""
    over, cold = chance.random() < 0.5, chance.random() < 0.125
    if over:
        shutil.copytree(whole, folder / "out")
        (folder / "out" / "notes.txt").write_text("mine")
    at_file = chance.random() < 0.6
    name, after = (chance.choice(MOMENTS), chance.uniform(0, 0.03)) if at_file else (
        None, chance.uniform(0, 1.05 * times["cold" if cold else "warm"]))  # fmt: skip
    trial = run(folder, "--seed", 2, *(["--force"] if over else []), cold=cold)
    place = folder / ("out.partial" if over else "out")
    status = kill(trial, place, how, name, after, chance.random() < 0.3)
    own = -SIGNALS[how]
    faults = judged(trial, status, {0, own} if how == "KILL" else {0, 130, own})
    left = runs_in(folder)
    found = states(left, faults)
    if over:
        ended = [path for path in left if finished(path)]
        if not ended:
            faults.append("the run that finished is gone")
        if [path.read_text() for path in folder.rglob("notes*.txt*")] != ["mine"]:
            faults.append("the stranger's file is gone")
        if status == 0 and metrics.load(folder / "out").summary["seed"] != 2:
            faults.append("the new run ended, and has not its name")
    if status in (0, 130) and (folder / "out.partial").exists() and not over:
        faults.append("it was not killed, and left a partial directory")
    if chance.random() < 0.25:
        again = run(folder, "--seed", 3, "--force")
        faults += [f"again: {each}" for each in judged(again, again.run(), {0})]
        if (folder / "out.partial").exists() or listed(folder / "out") is None:
            faults.append("again: a partial directory is left")
    kind = "run, to replace one" if over else "run"
    return {"kind": kind, "how": how, "status": status, "found": found, "faults": faults}


def killed_study(folder: Path, chance: random.Random, how: str, times: dict[str, float]) -> dict[str, Any]:
    """A study is killed, and goes on."""
    (folder / "grid.yaml").write_text(STUDY)
    cold = chance.random() < 0.25
    trial = study(folder, "--jobs", 2 if cold else 1, cold=cold)
    status = kill(trial, folder / "none", how, None, chance.uniform(0, times["study, cold" if cold else "study"]),
                  chance.random() < 0.3)  # fmt: skip
    own = -SIGNALS[how]
    faults = judged(trial, status, {0, own} if how == "KILL" else {0, 130, own})
    places = [path for path in (folder / "out" / "cells").glob("*") if path.is_dir()]
    found = states(places, faults)
    before = {path: path.stat().st_mtime_ns for path in places if path.suffix != ".partial"}
    for path in before:
        if not finished(path):
            faults.append(f"{path.name} has its name, and did not finish")
    again = study(folder, "--jobs", 1)
    faults += [f"again: {each}" for each in judged(again, again.run(), {0})]
    every = cells(read(folder / "grid.yaml"), folder / "out" / "cells")
    if any(cell.state != "done" for cell in every):
        faults.append("again: a cell is not played")
    if any(path.stat().st_mtime_ns != at for path, at in before.items()):
        faults.append("again: a cell that finished was touched")
    if list((folder / "out" / "cells").glob("*.partial*")):
        faults.append("again: a partial cell is left")
    return {"kind": "study", "how": how, "status": status, "found": found, "faults": faults}


def full_disk(folder: Path, size: int) -> dict[str, Any]:
    """A run on a disk that may be too small for it."""
    with disk(folder, size) as place:
        (place / "small.yaml").symlink_to(folder / "small.yaml")
        trial = Trial(folder, "run", "small.yaml", "--out", "disk/out", "--quiet", cold=False)
        status = trial.run()
        faults = judged(trial, status, {0, 3})
        found = states(runs_in(place), faults)
        if status == 0 and not finished(place / "out"):
            faults.append("status 0, and no run that finished")
        if status == 3 and "No space left" not in trial.said:
            faults.append(f"it does not say why: {trial.said}")
    return {"kind": "disk", "how": f"{size} B", "status": status, "found": found, "faults": faults}


def prepared(out: Path) -> tuple[dict[str, float], Path]:
    """Import what a run imports; how long runs and studies take (s); a run that finished."""
    base = out / "base"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    (base / "small.yaml").write_text(SCENARIO)
    (base / "grid.yaml").write_text(STUDY)
    plots.save_figures([simulation.run(load(base / "small.yaml"))], base / "figures")
    times = {}
    for name in ("warm", "cold"):
        (base / name).mkdir()
        for file in ("small.yaml", "grid.yaml"):
            shutil.copy(base / file, base / name)
    for name, trial in (("warm", run(base)), ("cold", run(base, "--force", cold=True)),
                        ("study", study(base / "warm", "--jobs", 1)),
                        ("study, cold", study(base / "cold", "--jobs", 2, cold=True))):  # fmt: skip
        begin = time.monotonic()
        status = trial.run()
        times[name] = time.monotonic() - begin
        assert status == 0, trial.said
    return times, base / "out"


def table(results: list[dict[str, Any]]) -> str:
    """A row per kind of trial: what became of directories, and what is wrong."""
    lines = [
        f"{'trials':22s} {'how':5s} {'count':>5s}  {'ended':>5s} {'whole':>6s} {'in part':>8s} {'refused':>8s} {'faults':>7s}"
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in results:
        groups.setdefault((each["kind"], "" if each["kind"] == "disk" else each["how"]), []).append(each)
    for (kind, how), each in sorted(groups.items()):
        sums = Counter[str]()
        for one in each:
            sums.update(one["found"])
        ended = sum(one["status"] == 0 for one in each)
        faulty = sum(bool(one["faults"]) for one in each)
        lines.append(f"{kind:22s} {how:5s} {len(each):5d}  {ended:5d} {sums['whole']:6d} {sums['in part']:8d} "
                     f"{sums['refused']:8d} {faulty:7d}")  # fmt: skip
    lines += [
        f"{each['kind']}, {each['how']}, trial {each['trial']}: {fault}" for each in results for fault in each["faults"]
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--disks", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kills"))
    given = parser.parse_args()
    out = (given.out / f"seed{given.seed}").resolve()
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    there = {each["trial"] for each in results}
    times, whole = prepared(out)
    print("seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in times.items()), flush=True)
    disks = given.disks if os.geteuid() == 0 else 0
    sizes = [int(8192 * 256 ** (i / max(1, disks - 1))) for i in range(disks)]
    todo: list[tuple[str, int]] = [("kill", i) for i in range(given.kills)] + [("disk", size) for size in sizes]
    for what, number in todo:
        trial = f"{what} {number}"
        if trial in there:
            continue
        folder, chance = out / "trial", random.Random(f"{given.seed} {trial}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "small.yaml").write_text(SCENARIO)
        begin, how = time.monotonic(), list(SIGNALS)[number % 3]
        if what == "disk":
            result = full_disk(folder, number)
        elif number % 5 == 4:
            result = killed_study(folder, chance, how, times)
        else:
            result = killed_run(folder, chance, how, times, whole)
        result |= {"trial": trial, "seconds": round(time.monotonic() - begin, 2)}
        results.append(result)
        with kept.open("a") as file:
            file.write(json.dumps(result) + "\n")
        if result["faults"]:
            shutil.copytree(folder, out / f"faulty {trial}", dirs_exist_ok=True, symlinks=True)
            print(f"{trial}: {result['faults']}", flush=True)
    print(table(results))
    print(
        f"{sum(each['seconds'] for each in results):.0f} s; {sum(bool(each['faults']) for each in results)} trials with faults"
    )
    return 1 if any(each["faults"] for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
