"""What checkpoints cost, and what it costs to go on from one.

    python benchmarks/checkpoints.py                          # W and W-tiny (TREC in $ELSA_SIM_DATA, extra [pretrained])
    python benchmarks/checkpoints.py --workloads 10000        # 10,000 clients of tiny-bert, elsa, one round of one step

Each workload is played without checkpoints and with one after every round, in turns, in processes of their own; `share` is the
time spent in writing them over the run's. Then a copy is resumed from its last but one checkpoint: `replay_s` is the CPU time
until its arithmetic begins, beyond that of building a world; memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import measuring
import scale
import workloads

from elsa_sim.run import checkpoint_files, resuming, simulation
from elsa_sim.run.builder import build
from elsa_sim.run.checkpoints import Checkpoints
from elsa_sim.scenario import model
from elsa_sim.scenario.checkpoint_options import CheckpointOptions


def loaded(name: str, rounds: int | None, every: int | None) -> model.Loaded:
    if name.isdigit():
        made = scale.scenario_of("real", int(name), rounds or 2, "batched", 1)
    else:
        made = workloads.load(workloads.describe(name, {} if rounds is None else {"rounds": rounds}), threads=1)
    options = CheckpointOptions(every=every, keep=9)
    return replace(made, scenario=made.scenario.model_copy(update={"checkpoint": options}))


def child(given: argparse.Namespace) -> dict[str, Any]:
    """Play or resume a workload, in this process."""
    spent, sizes, moments = [0.0], list[int](), dict[str, float]()
    write, resume = checkpoint_files.Folder.write, Checkpoints._resume

    def timed(*args: Any) -> int:
        begin = time.perf_counter()
        sizes.append(write(*args))
        spent[0] += time.perf_counter() - begin
        return sizes[-1]

    def reached(*args: Any) -> None:
        moments["reached"] = time.process_time()
        resume(*args)

    def built(*args: Any, **options: Any) -> Any:
        world = build(*args, **options)
        moments["built"] = time.process_time()
        return world

    checkpoint_files.Folder.write = timed  # type: ignore[method-assign]
    Checkpoints._resume = reached  # type: ignore[method-assign]
    simulation.builder.build = built
    if given.child == "resume":
        results = resuming.resume(given.folder)
    else:
        every = 1 if given.child == "checkpoints" else None
        results = simulation.run(loaded(given.workloads[0], given.rounds, every), given.folder)
    found = {"wall_s": results.summary["host"]["wall_s"], "math_s": results.summary["host"]["math_s"],
             "sha": results.summary["trace_sha256"], "writing_s": spent[0], "sizes": sizes}  # fmt: skip
    if given.child == "resume":
        found["replay_s"] = moments["reached"] - moments["built"]
    return found


def measured(name: str, what: str, folder: Path, rounds: int | None) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, "--folder", str(folder), "--workloads", name]
    found = measuring.measured([*command, *([] if rounds is None else ["--rounds", str(rounds)])], threads=1)
    if "failed" in found:
        raise SystemExit(found["failed"])
    return found


def killed(run: Path) -> None:
    """As if it had been killed in its last round."""
    run.rename(run.with_name("run.partial"))
    partial = run.with_name("run.partial")
    for name in ("summary.json", "manifest.json"):
        (partial / name).unlink()
    shutil.rmtree(checkpoint_files.found(partial)[0].folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", default=["W", "W-tiny"])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(given)))
        return
    print(
        "workload  clients  run s  with s   share  MB each  kB a client  replay CPU s  MiB  with MiB  resumed MiB  same"
    )
    for name in given.workloads:
        rows = []
        for _ in range(given.repetitions):
            with tempfile.TemporaryDirectory() as folder:
                without = measured(name, "none", Path(folder) / "without", given.rounds)
                run = Path(folder) / "run"
                with_ = measured(name, "checkpoints", run, given.rounds)
                killed(run)
                rows.append((without, with_, measured(name, "resume", run, given.rounds)))
        clients = int(name) if name.isdigit() else workloads.describe(name)["clients"]
        wall = [median(row[i]["wall_s"] for row in rows) for i in (0, 1)]
        share = median(row[1]["writing_s"] / row[1]["wall_s"] for row in rows)
        size = max(rows[0][1]["sizes"])
        peaks = [max(row[i]["peak_mib"] for row in rows) for i in range(3)]
        same = all(len({each["sha"] for each in row}) == 1 for row in rows)
        print(f"{name:9s} {clients:7d} {wall[0]:6.1f} {wall[1]:7.1f} {share:7.1%} {size / 1e6:8.2f} {size / 1e3 / clients:12.1f} "
              f"{median(row[2]['replay_s'] for row in rows):13.2f} {peaks[0]:4.0f} {peaks[1]:9.0f} {peaks[2]:12.0f}  {same}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
