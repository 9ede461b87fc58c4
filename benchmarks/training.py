"""How long training takes here, against the same mathematics in a bare PyTorch loop, and against other simulators.

Workloads W and W-tiny are described in workloads.py, the bare loop is written out in bare.py. Every program runs in a
process of its own, repetitions are interleaved, and the table has medians. The same evaluation, with the same batches,
is part of every program. ``rounds s`` is from the end of the first evaluation to the end of the last: what is compared,
as wall-clock and, for a machine that has other work to do, as CPU time; ``whole s`` adds reading, tokenising, loading the
model and writing the run directory, ``CPU s`` also the imports.

    python benchmarks/training.py                          # both workloads, 3 repetitions
    python benchmarks/training.py --workload W --programs bare-32,batched-split-net --threads 1
    python benchmarks/training.py --quick                  # a tenth of the work: does everything run?
    python benchmarks/training.py --peers                  # other simulators, too, one round (make peers; see peers/)

Programs: ``bare-32`` pads to 32 tokens as other simulators do, ``bare-longest`` to the longest text of a batch, ``bare-half``
is the first under autocast to bfloat16;
``EXECUTOR-MODEL-NETWORK`` is this program with that executor, MODEL ``split`` (three parts) or ``whole``, and NETWORK
``net`` or ``ideal`` (no shared links); ``workers-split-net`` is batched, in as many processes as ``--threads``, one
thread each; ``half-split-net`` is batched, with frozen products in bfloat16. Needs TREC in $ELSA_SIM_DATA and the extra
[pretrained].
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measuring
import peers
import workloads

QUICK = {"W": {"clients": 4, "rounds": 1, "steps": 2}, "W-tiny": {"clients": 20, "rounds": 1}}


def programs(workload: str) -> list[str]:
    """All programs that are compared, by default."""
    from elsa_sim.learning.execution.executor import EXECUTORS

    layers = workloads.WORKLOADS[workload]["backbone"].get("config", {}).get("num_hidden_layers", 6)
    models = ["split", "whole"] if layers >= 3 else ["whole"]  # three parts have a layer each
    own = [f"{e}-{m}-{n}" for e in sorted(EXECUTORS) if e != "timing" for m in models for n in ("net", "ideal")]
    special = [f"{name}-{models[0]}-net" for name in ("workers", "half")]
    return [
        "bare-32",
        "bare-longest",
        "bare-half",
        *sorted(own, key=lambda name: not name.startswith("serial")),
        *special,
    ]


def run(program: str, sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """Run one program in this process."""
    import torch

    if program.startswith("bare"):
        import bare

        torch.set_num_threads(threads)
        return bare.run(sizes, "longest" if program == "bare-longest" else "fixed", half=program == "bare-half")
    from elsa_sim.run import simulation
    from elsa_sim.world.progress import Observer

    class Clock(Observer):
        """Host time at the end of every evaluation."""

        times: list[tuple[float, float]] = []  # noqa: RUF012

        def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
            self.times.append((time.perf_counter(), time.process_time()))

    executor, model, network = program.split("-")
    special: dict[str, dict[str, Any]] = {
        "workers": {"executor": "batched", "workers": threads, "threads": 1},
        "half": {"executor": "batched", "precision": "bfloat16"},
    }
    loaded = workloads.load(sizes, protocol="elsa" if model == "split" else "fedavg", network=network == "net",
                            **{"executor": executor, "threads": threads} | special.get(executor, {}))  # fmt: skip
    clock, begin = Clock(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        summary = simulation.run(loaded, Path(folder) / "run", clock).summary
    whole = time.perf_counter() - begin
    host = summary["host"]
    wall, cpu = (end - start for start, end in zip(clock.times[0], clock.times[-1], strict=True))
    return {"wall_s": whole, "rounds_s": wall, "accuracy": summary["accuracy"], "math_share": host["math_s"] / host["wall_s"],
            **({} if executor == "workers" else {"rounds_cpu_s": cpu})}  # fmt: skip


def child(arguments: argparse.Namespace) -> None:
    """One measurement, in this process: prints a JSON object."""
    sizes = json.loads(arguments.sizes)
    if arguments.child in peers.NAMES:
        found = peers.run(arguments.child, sizes, arguments.threads)
    else:
        found = run(arguments.child, sizes, arguments.threads)
    found["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def compare(workload: str, names: list[str], arguments: argparse.Namespace) -> None:
    """Measure some programs on a workload, and print the table."""
    changes = QUICK[workload] if arguments.quick else {}
    sizes = workloads.describe(workload, changes | ({"rounds": 1} if arguments.peers else {}))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(arguments.repetitions):
        for name in names:
            command = measuring.python(__file__, "--child", name, "--sizes", json.dumps(sizes),
                                       "--threads", str(arguments.threads))  # fmt: skip
            if name in peers.NAMES:
                try:
                    command[0] = peers.python(name, arguments.peers_python)
                except FileNotFoundError as error:
                    found[name].append({"failed": str(error)})
                    continue
            alone = 1 if name.startswith("workers") else arguments.threads
            found[name].append(measuring.measured(command, threads=alone, cores=arguments.cores))
    steps = sizes["clients"] * sizes["rounds"] * sizes["steps"]
    rows, base = [], measuring.medians(found[names[0]])
    for name, runs in found.items():
        got = measuring.medians(runs)
        if "failed" in got:
            rows.append([name, *["-"] * 8, got["failed"]])
            continue
        ratios = [f"{got[k] / base[k]:.2f}" if k in got and k in base else "" for k in ("rounds_s", "rounds_cpu_s")]
        rows.append([name, f"{got['wall_s']:.1f}", f"{got['rounds_s']:.2f}", f"{steps / got['rounds_s']:.1f}",
                     *ratios, f"{got['cpu_s']:.1f}", f"{got['peak_mib']:,.0f}", f"{got['accuracy']:.3f}",
                     f"{100 * got['math_share']:.0f} %" if "math_share" in got else ""])  # fmt: skip
    columns = ["program", "whole s", "rounds s", "steps/s", f"ratio to {names[0]}", "of CPU time", "CPU s", "peak MiB",
               "accuracy", "math"]  # fmt: skip
    spoken = f"{sizes['clients']} clients, {sizes['rounds']} rounds, {sizes['steps']} steps of batch {sizes['batch']}"
    measuring.print_table(f"{workload}: {spoken}; medians of {arguments.repetitions}", columns, rows)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(workloads.WORKLOADS), action="append")
    parser.add_argument("--programs", help="names, separated by commas; ratios are to the first")
    parser.add_argument("--repetitions", type=int, default=None, help="of each program (default 3; 1 with --quick)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every program")
    parser.add_argument("--cores", type=int, help="let programs use only so many cores")
    parser.add_argument("--quick", action="store_true", help="a small part of the work, once")
    parser.add_argument("--peers", action="store_true", help="other simulators, too; one round")
    parser.add_argument("--peers-python", default=".venv-peers", metavar="PLACE",
                        help="folder with environments PLACE/NAME (default: %(default)s), or one interpreter")  # fmt: skip
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    arguments.repetitions = arguments.repetitions or (1 if arguments.quick else 3)
    print(measuring.machine(arguments.threads, arguments.cores))
    for workload in arguments.workload or workloads.WORKLOADS:
        names = arguments.programs.split(",") if arguments.programs else programs(workload)
        compare(workload, names + (list(peers.NAMES) if arguments.peers else []), arguments)


if __name__ == "__main__":
    main()
