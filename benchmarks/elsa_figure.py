"""Accuracy of ELSA and its baselines over simulated time and over bytes, with and without attackers: the figure of the README.

elsa-sim study scenarios/studies/elsa/study.yaml --out runs/study
elsa-sim study scenarios/studies/elsa/attacks.yaml --out runs/attacks
python benchmarks/elsa_figure.py runs docs/measurements/elsa_claim.png --seed 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from elsa_sim.results import metrics
from elsa_sim.results.plots.style import CYCLE, MARKERS

#: Study and its labels -> title of the row, and the systems in it.
ROWS = [
    ("study", "", "nobody attacks", ["elsa", "elsa without codecs", "fedavg"]),
    (
        "attacks",
        "reversed and scaled",
        "4 of 20 reversed, times 3",
        ["elsa without codecs", "fedavg"],
    ),
]
#: How systems look; in attacks.yaml nobody has codecs.
LOOKS = {"elsa": 0, "elsa without codecs": 1, "fedavg": 2}


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("figure", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.6), sharey=True, layout="constrained")
    for (study, attack, title, systems), row in zip(ROWS, axes, strict=True):
        table = pd.read_csv(options.runs / study / "runs.csv")
        table = table[table["seed"] == options.seed]
        if attack:
            table = table[table["unreliable"] == attack]
        for system in systems:
            label = "elsa" if attack and system != "fedavg" else system
            (cell,) = table.loc[table["system"] == label, "run"]
            curve = metrics.accuracy_curve(metrics.load(options.runs / study / "cells" / cell).events)
            look = LOOKS[system]
            for axis, x in zip(row, (curve["sim_time_s"], curve["bytes"] / 1e9), strict=True):
                axis.plot(x, curve["accuracy"], color=CYCLE[look], marker=MARKERS[look], markersize=3.5, label=system)
        row[0].set_ylabel(f"Test accuracy,\n{title}", fontsize=7.5)
        for axis in row:
            axis.set_ylim(0, 1)
            axis.grid(color="#e0e0e0", linewidth=0.6)
            axis.tick_params(labelsize=7.5)
    axes[1, 0].set_xlabel("Simulated time (s)", fontsize=8)
    axes[1, 1].set_xlabel("Data sent (GB)", fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, fontsize=8)
    figure.savefig(options.figure, dpi=160)


if __name__ == "__main__":
    main()
