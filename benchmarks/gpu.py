"""The same runs on the processor and on a CUDA device: are the results the same, and how fast is it?

    python benchmarks/gpu.py                       # all rows, at most 8 minutes; results also in runs/gpu.jsonl
    python benchmarks/gpu.py --rows quickstart,llama-1b --budget 120
    python benchmarks/gpu.py --quick               # a small part of each row: does everything run?

Rows: `quickstart` (scenarios/quickstart.yaml), `W` (workloads.py), `trec` (scenarios/trec_minilm.yaml, 2 rounds) and
`llama-1b`, a randomly initialised Llama of 16 layers of 2048 (0.97 billion parameters), FedAvg with 2 clients. `W` and `trec`
need TREC in $ELSA_SIM_DATA and the extra [pretrained]; without them they are left out, and the table says so. Nothing is
downloaded.

Every run is a process of its own with a time limit, and its result is a line of JSON as soon as there is one: a run that fails,
hangs or is cut off takes no other with it. `llama-1b` is played on CUDA only, for its speed: on a processor it takes too long
to be compared.

Compared are `timeline_sha256`, which must be equal, and the loss at every evaluation, which may differ by ``TOLERANCE``,
relatively: all arithmetic is float32 (TF32 is off), but sums are taken in another order, on CUDA not in the same order twice.
`rounds s` is host time from the end of the first evaluation to the end of the last; `math s` is host time in arithmetic, first
evaluation included; TFLOP/s are the counted FLOPs of training over `rounds s`, so without those of evaluations, in whose
time they are; memory is the most that PyTorch had allocated on the card.

Exit status: 0 if all that was compared agrees, 1 if something differs or failed, 2 without a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import measuring
import workloads

from elsa_sim.learning.backbone.configuration import MINILM_MODULE
from elsa_sim.scenario import model
from elsa_sim.scenario.document import Document
from elsa_sim.scenario.model import Loaded

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"
#: Relative difference of two losses that rounding may make.
TOLERANCE = 1e-3
#: Seconds that a run is worth being started for.
LEAST_S = 10.0
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Something that is played: ``load(quick)`` gives the scenario, ``limit_s`` is for each run of it."""

    load: Callable[[bool], Loaded]
    limit_s: float
    compared: bool = True
    pretrained: bool = False


def _quickstart(quick: bool) -> Loaded:
    return model.load(SCENARIOS / "quickstart.yaml", ["protocol.rounds=1", "protocol.edge_rounds=1"] if quick else [])


def _trec(quick: bool) -> Loaded:
    short = (
        ["protocol.edge_rounds=1", "protocol.local_steps=1", "protocol.rounds=1"] if quick else ["protocol.rounds=2"]
    )
    return model.load(SCENARIOS / "trec_minilm.yaml", short)


def _w(quick: bool) -> Loaded:
    return workloads.load(workloads.describe("W", {"clients": 4, "rounds": 1, "steps": 2} if quick else None))


def _llama(quick: bool) -> Loaded:
    """Vocabulary and texts are made up, so the parameters are those of the layers."""
    data: dict[str, Any] = {
        "name": "llama-1b",
        "seed": 7,
        "protocol": {"kind": "fedavg", "rounds": 1 if quick else 2, "local_steps": 1 if quick else 4, "lr": 1e-4},
        "backbone": {"name": "tiny-llama", "lora": {"rank": 8, "alpha": 16},
                     "config": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
                                "num_key_value_heads": 8, "intermediate_size": 8192, "initializer_range": 0.02}},
        "task": {"kind": "synthetic", "objective": "causal_lm", "length": [100, 120], "max_length": 128, "batch_size": 8,
                 "train_size": 200, "test_size": 16},
        "topology": {"kind": "star", "clients": 2, "access": {"up": "20 Mbit/s", "down": "50 Mbit/s"}},
        "devices": {"client": {"speed": "1 TFLOP/s", "memory": "64 GiB"}},
    }  # fmt: skip
    return model.validated(Document("llama-1b", data))


ROWS: dict[str, Row] = {
    "quickstart": Row(_quickstart, 90.0),
    "llama-1b": Row(_llama, 120.0, compared=False),
    "W": Row(_w, 120.0, pretrained=True),
    "trec": Row(_trec, 150.0, pretrained=True),
}


def played(name: str, device: str, threads: int, quick: bool) -> Result:
    """Play a row in this process."""
    import torch

    from elsa_sim.run import simulation
    from elsa_sim.world.progress import Observer

    class Clock(Observer):
        """Host time at the end of every evaluation."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
            self.times.append(time.perf_counter())

    loaded = ROWS[name].load(quick)
    execution = loaded.scenario.execution.model_copy(update={"device": device, "threads": threads})
    loaded = Loaded(loaded.scenario.model_copy(update={"execution": execution}), loaded.document)
    clock, begin = Clock(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results = simulation.run(loaded, Path(folder) / "run", clock)
        summary, rounds, events = results.summary, results.rounds, results.events
    found: Result = {
        "whole_s": time.perf_counter() - begin,
        "rounds_s": clock.times[-1] - clock.times[0],
        "math_s": summary["host"]["math_s"],
        "losses": [float(loss) for loss in rounds["loss"]],
        "accuracies": [float(each) for each in rounds["accuracy"]] if "accuracy" in rounds else [],
        "timeline_sha256": summary["timeline_sha256"],
        "train_flops": float(events.loc[events["kind"] == "compute", "flops"].sum()),
    }
    if device == "cuda":
        found |= {"card": torch.cuda.get_device_name(), "card_mib": torch.cuda.max_memory_allocated() / measuring.MIB}
    return found


def lacking(row: Row) -> str | None:
    """What a row needs and is not here."""
    if not row.pretrained:
        return None
    if find_spec(MINILM_MODULE) is None:
        return "no MiniLM here (extra [pretrained])"
    data = Path(os.environ.get("ELSA_SIM_DATA", "."))
    there = all((data / "trec" / f"{part}.txt").is_file() for part in ("train", "test"))
    return None if there else "no TREC in $ELSA_SIM_DATA"


def measured(
    names: Sequence[str], budget_s: float, run: Callable[[str, str, float], Result]
) -> Iterator[tuple[str, str, Result]]:
    """Row, device and result of every run, as they end; ``run(name, device, limit in s)`` plays one.

    CUDA goes first, so that little time still says what is not known of other machines.
    """
    end = time.monotonic() + budget_s
    for name in names:
        row = ROWS[name]
        why = lacking(row)
        for device in ("cuda", "cpu") if row.compared else ("cuda",):
            left = end - time.monotonic()
            if why is not None:
                yield name, device, {"left_out": why}
            elif left < LEAST_S:
                yield name, device, {"left_out": f"no time left of {budget_s:.0f} s"}
            else:
                yield name, device, run(name, device, min(row.limit_s, left))


def difference(one: Sequence[float], two: Sequence[float]) -> float:
    """The largest relative difference of losses at the same evaluation; infinite where one has more of them, or no number."""
    if len(one) != len(two) or not one:
        return float("inf")
    each = [abs(a - b) / max(abs(a), abs(b), 1e-30) for a, b in zip(one, two, strict=True)]
    return max(off if off == off else float("inf") for off in each)


def verdict(cuda: Result, cpu: Result | None) -> tuple[bool | None, str]:
    """Whether two results agree (``None``: they are not compared), and why not."""
    for device, result in (("CUDA", cuda), ("CPU", cpu or {})):
        if "failed" in result:
            return False, f"{device}: {result['failed']}"
        if "left_out" in result:
            return None, f"{device} left out: {result['left_out']}"
    if cpu is None:
        return None, "not compared: for its speed only"
    if cuda["timeline_sha256"] != cpu["timeline_sha256"]:
        return False, "another timeline"
    off = difference(cuda["losses"], cpu["losses"])
    return off <= TOLERANCE, f"losses differ by {off:.1e}" + ("" if off <= TOLERANCE else f", more than {TOLERANCE:g}")


COLUMNS = ["row", "CPU rounds, s", "CUDA rounds, s", "speed-up", "CPU math, s", "CUDA math, s", "CPU whole, s", "CUDA whole, s",
           "CUDA TFLOP/s", "card MiB", "accuracy CPU / CUDA", "compared"]  # fmt: skip


def cells(name: str, cuda: Result, cpu: Result | None) -> list[str]:
    """A row of the table."""
    agrees, why = verdict(cuda, cpu)
    other: Result = cpu or {}

    def told(result: Result, key: str, digits: int = 2) -> str:
        return f"{result[key]:,.{digits}f}" if key in result else ""

    def last(result: Result) -> str:
        return f"{result['accuracies'][-1]:.4f}" if result.get("accuracies") else ""

    both = "rounds_s" in cuda and "rounds_s" in other
    speed = f"{cuda['train_flops'] / cuda['rounds_s'] / 1e12:.2f}" if cuda.get("rounds_s") else ""
    said = {True: "yes", False: "**no**", None: "-"}[agrees]
    return [name, told(other, "rounds_s"), told(cuda, "rounds_s"),
            f"{other['rounds_s'] / cuda['rounds_s']:.1f}" if both and cuda["rounds_s"] else "",
            told(other, "math_s"), told(cuda, "math_s"), told(other, "whole_s", 1), told(cuda, "whole_s", 1), speed,
            told(cuda, "card_mib", 0), " / ".join(filter(None, (last(other), last(cuda)))), f"{said}; {why}"]  # fmt: skip


def card() -> str | None:
    """The CUDA device that is here, in words."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help="names, separated by commas")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds for all runs together")
    parser.add_argument("--threads", type=int, default=min(8, len(os.sched_getaffinity(0))), help="of every run")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/gpu.jsonl"), help="results are added to this file, a line each"
    )
    parser.add_argument("--quick", action="store_true", help="a small part of each row")
    parser.add_argument("--child", nargs=2, metavar=("ROW", "DEVICE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(played(*given.child, given.threads, given.quick)))
        return 0
    names = given.rows.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"no row {unknown[0]!r}; valid: {', '.join(ROWS)}")
    there = card()
    if there is None:
        print("there is no CUDA device here, as PyTorch sees it: nothing is measured", file=sys.stderr)
        return 2
    print(f"{there}; {measuring.machine(given.threads)}", flush=True)

    def run(name: str, device: str, limit_s: float) -> Result:
        command = measuring.python(__file__, "--child", name, device, "--threads", str(given.threads),
                                   *(["--quick"] if given.quick else []))  # fmt: skip
        return measuring.measured(command, threads=given.threads, timeout_s=limit_s)

    found: dict[str, dict[str, Result]] = {name: {} for name in names}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with given.out.open("a", encoding="utf-8") as file:
        for name, device, result in measured(names, given.budget, run):
            found[name][device] = result
            line = {"row": name, "device": device, "quick": given.quick, **result}
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(json.dumps(line), flush=True)
    pairs = {name: (results["cuda"], results.get("cpu")) for name, results in found.items()}
    measuring.print_table(
        f"{there}; {given.threads} threads beside it", COLUMNS, [cells(name, *pair) for name, pair in pairs.items()]
    )
    return int(any(verdict(*pair)[0] is False for pair in pairs.values()))


if __name__ == "__main__":
    sys.exit(main())
