"""The example scenarios, played with changes, and what their curves of accuracy over simulated time say."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
from small_runs import quick

from elsa_sim.results.metrics import Results
from elsa_sim.run import simulation
from elsa_sim.scenario.model import load

HERE = Path(__file__).parents[2] / "scenarios"
TIMING, REAL = "execution.mode=timing", "execution.mode=real"


@cache
def run(name: str, *changes: str, mode: str = TIMING) -> Results:
    """An example, without arithmetic unless said otherwise, changed as by ``--set``."""
    with quick():
        return simulation.run(load(HERE / f"{name}.yaml", (mode, *changes)))


def seconds(results: Results) -> float:
    return float(results.summary["sim_time_s"])


def total(results: Results) -> int:
    return int(results.summary["bytes"]["total"])


def final(results: Results) -> float:
    return float(results.summary["accuracy"])


def accuracies(results: Results) -> list[float]:
    """After each round, the one before the first included."""
    return [float(accuracy) for accuracy in results.rounds["accuracy"]]


def accuracy_at(results: Results, time_s: float) -> float:
    """That of the last evaluation by a simulated time."""
    return float(results.rounds["accuracy"][results.rounds["sim_time_s"] <= time_s].iloc[-1])


def average(results: Results, until_s: float) -> float:
    """The mean over simulated time, from 0 until then, of the accuracy that had been reached."""
    times = np.minimum(results.rounds["sim_time_s"].to_numpy(), until_s)
    return float(np.diff(times, append=until_s) @ results.rounds["accuracy"].to_numpy() / until_s)


def time_to(results: Results, accuracy: float) -> float:
    """When an accuracy was first reached (s); infinite if never."""
    return float(results.rounds["sim_time_s"][results.rounds["accuracy"] >= accuracy].min(skipna=True))


def half_bandwidth(folder: Path) -> Path:
    """The example's trace with half of every bandwidth."""
    half = folder / "half.csv"
    lines = (HERE / "data/cellular.csv").read_text().splitlines()
    header, *rows = [line for line in lines if not line.startswith("#")]
    halves = [f"{time},{float(rate) / 2}" for time, rate in (row.split(",") for row in rows)]
    half.write_text("\n".join([header, *halves]))
    return half


def stretched(path: Path, folder: Path, factor: float) -> str:
    """The file with all coordinates further apart, or nearer."""
    graph = nx.read_graphml(path)
    for _, data in graph.nodes(data=True):
        data["Longitude"] = float(data["Longitude"]) * factor
        data["Latitude"] = float(data["Latitude"]) * min(factor, 1.6)  # there is none beyond 90 degrees
    nx.write_graphml(graph, folder / "stretched.graphml")
    return str(folder / "stretched.graphml")
