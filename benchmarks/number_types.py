"""What types of numbers do to a scenario: memory, bytes and simulated time of what is simulated, and what it learns.

    python benchmarks/number_types.py                                            # TREC in $ELSA_SIM_DATA, extra [pretrained]
    python benchmarks/number_types.py scenarios/quickstart.yaml --seeds 3
    python benchmarks/number_types.py --set protocol.rounds=3 --set codec={}

Each configuration is played with each seed, in this process, one after the other: accuracies are means with their range. Memory
is that of the client that takes most, as `elsa-sim check` tells it. Client devices have one speed for float32 and four times as
much for the types of half its size, as tensor cores have, so that the simulated time shows both fewer bytes and faster devices.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import elsa_sim
from elsa_sim.base.units import format_bytes, format_seconds
from elsa_sim.run import checks
from elsa_sim.run.memory import MemoryDemand

SPEED = "{float32: 20 GFLOP/s, bfloat16: 80 GFLOP/s, float16: 80 GFLOP/s}"
CONFIGURATIONS = {
    "float32": [],
    "bfloat16": ["backbone.dtype=bfloat16"],
    "float16": ["backbone.dtype=float16"],
    "int8": ["backbone.quantize=int8"],
    "nf4": ["backbone.quantize=nf4"],
    "float32, gradient checkpointing": ["backbone.gradient_checkpointing=true"],
    "bfloat16, nf4, gradient checkpointing": [
        "backbone.dtype=bfloat16",
        "backbone.quantize=nf4",
        "backbone.gradient_checkpointing=true",
    ],
}


def memory(plan: checks.Plan) -> int:
    """Bytes of the client that takes most."""
    demand = MemoryDemand(plan.scenario, plan.outline, plan.source.layers, plan.cuts, plan.topology, plan.edge_of)
    needs = demand.footprints()
    return max(footprint.total(copies) for name, (_, footprint, copies) in needs.items() if name in plan.trainers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="scenarios/trec_minilm.yaml", type=Path)
    parser.add_argument("--set", dest="changes", action="append", default=[], help="as for elsa-sim run")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| numbers | memory of a client | sent | simulated time | accuracy | CPU time |\n|---|---|---|---|---|---|")
    for name, own in CONFIGURATIONS.items():
        accuracies, begin = [], time.process_time()
        changes = [*given.changes, f"devices.client.speed={SPEED}", *own]
        for seed in range(given.seeds):
            result = elsa_sim.run(given.scenario, overrides=[*changes, f"seed={seed}"])
            accuracies.append(
                float(result.rounds["clean_accuracy" if "clean_accuracy" in result.rounds else "accuracy"].iloc[-1])
            )
        spent = (time.process_time() - begin) / given.seeds
        sent = format_bytes(result.summary["bytes"]["total"])
        plan = elsa_sim.check(given.scenario, overrides=changes)
        shown = f"{np.mean(accuracies):.3f} ({min(accuracies):.3f} to {max(accuracies):.3f})"
        print(f"| {name} | {format_bytes(memory(plan))} | {sent} | {format_seconds(result.summary['sim_time_s'])} | {shown} | "
              f"{spent:.1f} s |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
