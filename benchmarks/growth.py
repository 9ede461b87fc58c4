"""How host time and memory grow with layers and tokens, in real arithmetic and in timing mode: a table and a figure.

    python benchmarks/growth.py --figure docs/measurements/growth.png
    python benchmarks/growth.py --over layers --mode timing

Hierarchical split training (``elsa``), a round of one step of 8 clients and 2 edge servers. In real arithmetic a ``tiny-bert`` of 4
layers on texts of 32 tokens, batches of 8, with more layers or longer texts; in timing mode a Llama 3.1 8B of 32 layers on 512
tokens. Each point is the median of several processes of their own, in turns; CPU time and peak memory are those of the whole
process, start and writing included. Growth with clients: scale.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import measuring

POINTS = {
    "layers": {"real": [3, 8, 16, 32, 64], "timing": [3, 8, 16, 32, 64, 128]},
    "tokens": {"real": [16, 64, 128, 256, 512], "timing": [16, 64, 256, 1024, 4096, 16_384, 131_072]},
}
LOOKS = {"real": ("o", "#0072b2", "real arithmetic"), "timing": ("s", "#d55e00", "timing mode")}


def scenario_of(over: str, mode: str, size: int, folder: Path) -> Any:
    """The scenario of a point."""
    from elsa_sim.scenario import model
    from elsa_sim.scenario.document import Document

    layers, tokens = (size, 0) if over == "layers" else (0, size)
    data: dict[str, Any] = {
        "name": "growth",
        "protocol": {"kind": "elsa", "rounds": 1, "edge_rounds": 1, "local_steps": 1},
        "topology": {"kind": "tree", "clients": 8, "edges": 2, "access": {"up": "1 Gbit/s", "down": "1 Gbit/s"},
                     "backhaul": {"up": "10 Gbit/s", "down": "10 Gbit/s"}},
        "devices": {role: {"memory": "500 TiB"} for role in ("client", "edge", "cloud")},
        "execution": {"mode": mode},
    }  # fmt: skip
    if mode == "timing":
        data["backbone"] = {"name": "llama-3.1-8b", "dtype": "bfloat16", "config": {"num_hidden_layers": layers or 32}}
        data["task"] = {"kind": "lengths", "objective": "causal_lm", "length": tokens or 512, "batch_size": 4}
    else:
        words = " ".join(f"w{i % 50}" for i in range((tokens or 32) - 2))
        for name in ("train", "test"):
            (folder / f"{name}.txt").write_text(f"a {words}\nb {words}\n" * 100)
        data["backbone"] = {"name": "tiny-bert", "config": {"num_hidden_layers": layers or 4}}
        data["task"] = {"kind": "text_file", "train": "train.txt", "test": "test.txt", "format": "labelled_lines",
                        "max_length": tokens or 32, "batch_size": 8}  # fmt: skip
    return model.validated(Document("growth", data, folder=folder))


def child(given: argparse.Namespace) -> None:
    """One point, in this process: prints a JSON object."""
    from elsa_sim.run import simulation

    with tempfile.TemporaryDirectory() as folder:
        simulation.run(scenario_of(given.over[0], given.mode[0], given.child, Path(folder)), Path(folder) / "run")
    print(json.dumps({"rss_mib": measuring.own_peak_mib()}))


def draw(found: dict[tuple[str, str], list[tuple[int, float, float]]], path: Path) -> None:
    """Time and memory over each size."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from elsa_sim.results.plots.style import STYLE, finish

    names = list(dict.fromkeys(over for over, _ in found))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(names), figsize=(3.4 * len(names), 4.2), sharex="col", layout="constrained")
        for column, over in enumerate(names):
            for mode, (marker, colour, label) in LOOKS.items():
                points = found.get((over, mode), [])
                for row in (0, 1):
                    x, y = [each[0] for each in points], [each[row + 1] for each in points]
                    axes[row, column].plot(x, y, marker=marker, color=colour, label=label, markersize=4)
            for row, text in enumerate(("CPU time (s)", "Peak memory (MiB)")):
                axes[row, column].set(xscale="log", ylim=(0, None))
                axes[row, column].xaxis.set_major_locator(LogLocator(2 if over == "layers" else 10))
                axes[row, column].xaxis.set_minor_locator(NullLocator())
                for axis in (axes[row, column].xaxis, axes[row, column].yaxis):
                    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                if column == 0:
                    axes[row, column].set_ylabel(text)
                finish(axes[row, column], "both")
            axes[1, column].set_xlabel({"layers": "Layers", "tokens": "Tokens per text"}[over])
        axes[1, -1].legend(loc="center right", frameon=False)
        figure.savefig(path, dpi=200)


def main() -> None:
    """Parse, measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--over", choices=list(POINTS), nargs="+", default=list(POINTS))
    parser.add_argument("--mode", choices=list(LOOKS), nargs="+", default=list(LOOKS))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--most", type=int, default=10**9, help="leave out larger sizes")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        child(given)
        return
    print(measuring.machine(1))
    points = [(over, mode, size) for over in given.over for mode in given.mode for size in POINTS[over][mode]]
    points = [point for point in points if point[2] <= given.most]
    got: dict[tuple[str, str, int], list[dict[str, Any]]] = {point: [] for point in points}
    for _ in range(given.repetitions):
        for over, mode, size in points:
            command = measuring.python(__file__, "--over", over, "--mode", mode, "--child", str(size))
            got[over, mode, size].append(measuring.measured(command, threads=1))
            print(over, mode, size, got[over, mode, size][-1], file=sys.stderr, flush=True)
    rows, found = [], dict[tuple[str, str], list[tuple[int, float, float]]]()
    for (over, mode, size), several in got.items():
        if failed := next((each["failed"] for each in several if "failed" in each), None):
            rows.append([over, mode, f"{size:,}", "-", failed])
            continue
        cpu, peak = (statistics.median(each[key] for each in several) for key in ("cpu_s", "peak_mib"))
        rows.append([over, mode, f"{size:,}", f"{cpu:.1f}", f"{peak:,.0f}"])
        found.setdefault((over, mode), []).append((size, cpu, peak))
    measuring.print_table("Growth", ["over", "mode", "size", "CPU s", "peak MiB"], rows)
    if given.figure is not None:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
