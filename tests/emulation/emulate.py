"""What real TCP takes over links with delay, and what the package predicts: measures, compares, draws.

    sudo python tests/emulation/emulate.py --out runs/emulation       # goes on where it stopped
    make emulate                                                      # the same
    python tests/emulation/emulate.py --out FOLDER --predict          # predictions anew for what was measured; needs no root

Measurements are kept one by one in `FOLDER/measured`, and gathered in `single.json`, `concurrent.json` and `end_to_end.json`.
The table goes to `table.txt`, every comparison to `compared.json`, the figure to `predicted_over_measured.png` and `.pdf`.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import end_to_end
import predictions
import reporting
import sharing
import singles
from delay_lab import missing

from elsa_sim.network import NetworkOptions
from elsa_sim.results.run_directory import load

SCENARIO = Path(__file__).with_name("end_to_end.yaml")
ROUND_TRIPS = [(10.0, 10.0), (10.0,) * 4, (10.0,) * 8, (100.0, 100.0), (100.0,) * 4, (100.0,) * 8, (10.0, 100.0),
               (10.0, 10.0, 50.0, 50.0, 100.0, 100.0)]  # fmt: skip
#: Name -> what is set in the scenario, and the queue of each port (bytes).
RUNS: dict[str, tuple[list[str], int]] = {
    "compressed": ([], 125_000),
    "far": (["codec={}", "topology.access={up: 20 Mbit/s, down: 50 Mbit/s, latency: 40 ms}",
             "topology.backhaul={up: 50 Mbit/s, down: 50 Mbit/s, latency: 5 ms}"], 250_000),
    "far and idle": (["codec={}", "topology.access={up: 20 Mbit/s, down: 50 Mbit/s, latency: 40 ms}",
                      "topology.backhaul={up: 50 Mbit/s, down: 50 Mbit/s, latency: 5 ms}",
                      "devices.client.speed=200 MFLOP/s", "protocol.local_steps=2"], 250_000),
    "shared uplink": (["codec={}", "split=fixed", "protocol={kind: fedavg, rounds: 2, local_steps: 4, lr: 0.01}",
                       "devices.overrides={}", "backbone.lora={rank: 64, alpha: 64, targets: [query, value]}",
                       "topology.access={up: 50 Mbit/s, down: 50 Mbit/s, latency: 40 ms}",
                       "topology.backhaul={up: 10 Mbit/s, down: 20 Mbit/s, latency: 5 ms}"], 250_000),
}  # fmt: skip
LINKS = [*((f"client{i}", "edge0") for i in range(4)), ("edge0", "cloud")]
Work = tuple[str, Callable[[], Any]]


def work(options: argparse.Namespace) -> Iterator[Work]:
    """What is to be measured: name of the file, and how."""
    if "single" in options.only:
        for nbytes, rtt, rate in itertools.product(options.sizes, options.rtts, options.rates):
            yield (
                f"single-{nbytes}B-{rtt:g}ms-{rate:g}Mbps",
                lambda n=nbytes, r=rtt, m=rate: [
                    asdict(c) for c in singles.measure(m * 1e6, r / 1e3, n, options.repetitions)
                ],
            )
    if "concurrent" in options.only:
        for trips, nbytes in itertools.product(ROUND_TRIPS, options.shared_sizes):
            yield (
                f"concurrent-{nbytes}B-{'-'.join(f'{t:g}' for t in trips)}ms",
                lambda t=trips, n=nbytes: asdict(sharing.measure([r / 1e3 for r in t], n, options.repetitions)),
            )
    if "end_to_end" in options.only:
        for name, transport in itertools.product(RUNS, predictions.transports()):
            yield (
                f"end_to_end-{name.replace(' ', '_')}-{transport}",
                lambda n=name, t=transport: asdict(rounds(options.out, n, t, options.repetitions)),
            )


def rounds(out: Path, name: str, transport: str, repetitions: int) -> end_to_end.Rounds:
    """Run the scenario with this transport, and play its messages."""
    changes, queue = RUNS[name]
    if "transport" in NetworkOptions.model_fields:
        how: dict[str, Any] = {"kind": transport}
        if transport == "tcp":
            ways = [(u, v) for a, b in LINKS for u, v in ((a, b), (b, a))]
            how |= {
                "connections": "persistent",
                "idle_restart": True,
                "queue_bytes": {f"{u}>{v}": queue for u, v in ways},
            }
        changes = [*changes, f"network.transport={json.dumps(how)}"]
    folder = out / "runs" / f"{name.replace(' ', '_')}-{transport}"
    command = [sys.executable, "-m", "elsa_sim", "run", str(SCENARIO), "--out", str(folder), "--force"]
    for change in changes:
        command += ["--set", change]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    return end_to_end.measure(load(folder), queue, repetitions)


def measured(options: argparse.Namespace) -> None:
    """Measure what is not there yet."""
    todo = [(name, how) for name, how in work(options) if not (options.out / "measured" / f"{name}.json").exists()]
    for i, (name, how) in enumerate(todo, 1):
        begin = time.monotonic()
        found = how()
        target = options.out / "measured" / f"{name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        partial.replace(target)
        disturbed = sum(each["disturbed"] for each in (found if isinstance(found, list) else [found]))
        note = f", {disturbed} repetitions in which the machine was too busy" if disturbed else ""
        print(f"{i}/{len(todo)} {name}: {time.monotonic() - begin:.1f} s{note}", flush=True)


def gathered(out: Path) -> None:
    """Gather single measurements into one file per kind."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "measured").glob("*.json"))
    }
    if not found:
        return
    runs: dict[str, dict[str, Any]] = {}
    for stem, value in found.items():
        if stem.startswith("end_to_end-"):
            _, name, transport = stem.split("-")
            runs.setdefault(name.replace("_", " "), {})[transport] = value
    files = {
        "single": [cell for stem, value in found.items() if stem.startswith("single-") for cell in value],
        "concurrent": [value for stem, value in found.items() if stem.startswith("concurrent-")],
        "end_to_end": {"base": SCENARIO.name, "cases": runs},
    }
    for name, content in files.items():
        (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def compared(out: Path) -> list[predictions.Compared]:
    """Compare all that was measured with what each transport predicts."""
    rows = []
    single, concurrent, runs = (_read(out / f"{name}.json") for name in ("single", "concurrent", "end_to_end"))
    order = {"fresh": 0, "first": 1}
    for transport in predictions.transports():
        rows += predictions.compare_single(
            sorted(single or (), key=lambda c: (order.get(c["mode"], 2), c["mode"])), transport
        )
        rows += predictions.compare_shared(sorted(concurrent or (), key=lambda c: c["case"]), transport)
    if runs and all("fluid" in by_transport for by_transport in runs["cases"].values()):
        rows += predictions.compare_rounds(runs["cases"])
    return rows


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def main() -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/emulation"))
    parser.add_argument("--predict", action="store_true", help="measure nothing: predict anew")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("single", "concurrent", "end_to_end"),
        default=["single", "concurrent", "end_to_end"],
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=[2000, 20000, 100000, 500000, 5000000], help="bytes of single messages"
    )
    parser.add_argument("--rates", nargs="+", type=float, default=[5.0, 50.0], help="Mbit/s")
    parser.add_argument("--rtts", nargs="+", type=float, default=[10.0, 50.0, 100.0], help="ms")
    parser.add_argument(
        "--shared-sizes", nargs="+", type=int, default=[100000, 1000000], help="bytes of messages that share a link"
    )
    options = parser.parse_args()
    if not options.predict:
        reason = missing()
        if reason:
            print(reason)
            return 1
        measured(options)
        gathered(options.out)
    rows = compared(options.out)
    if not rows:
        print(f"{options.out} holds no measurements")
        return 1
    text = reporting.table(rows)
    print(text)
    (options.out / "table.txt").write_text(text + "\n", encoding="utf-8")
    (options.out / "compared.json").write_text(
        json.dumps([{**asdict(r), "ratio": r.ratio} for r in rows], indent=1) + "\n", encoding="utf-8"
    )
    reporting.figure(rows, options.out / "predicted_over_measured")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
