"""A run as data: what a run directory holds.

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..base.errors import InputError
from ..base.units import format_bytes, format_energy, format_seconds
from ..base.writing import PARTIAL, refused, shown
from . import contents
from .columns import texts
from .event_table import STREAM, TABLE
from .manifest import ADAPTERS, holds_nothing, is_run_directory, partial_of
from .measures import value
from .rounds import rounds_table
from .summary import summarise


@dataclass(frozen=True, eq=False)
class Results:
    """One run. ``rounds`` has one row per evaluation, ``events`` the rows of ``event_table.SCHEMA``."""

    events: pd.DataFrame
    rounds: pd.DataFrame
    summary: dict[str, Any]
    topology: dict[str, Any]
    folder: Path | None = None
    name: str = "run"
    privacy: pd.DataFrame | None = None
    """One row per codec chain that was attacked, if any was: what each attack recovered (see `elsa_sim.privacy`)."""
    scenario: Mapping[str, Any] = field(default_factory=dict)
    """The resolved scenario, by the keys of a scenario file; empty where it is not known."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The labels of a study's axes, for a cell of one."""

    @property
    def protocol(self) -> str:
        """The kind of the training protocol."""
        return str(self.summary.get("protocol", ""))

    @property
    def adapters(self) -> Path | None:
        """The folder of the trained adapters, as peft saves them; ``None`` without a run directory, or where it keeps none."""
        place = None if self.folder is None else self.folder / ADAPTERS
        return place if place is not None and place.is_dir() else None

    @property
    def table(self) -> pd.DataFrame:
        """The run as the row of a table; see `elsa_sim.compare`."""
        from .table import compare

        return compare(self).table

    def __repr__(self) -> str:
        told = [f"{name} {text}".strip() for name, text in _in_words(self) if text]
        return f"Results of {self.name}: {', '.join(told)}"

    def _repr_html_(self) -> str:
        from .markup import html

        return html([texts(name, [text]) for name, text in _in_words(self) if text], f"Results of {self.name}")


def _in_words(run: Results) -> Iterator[tuple[str, str]]:
    """What a run was, in a few words: what of it, and how much; "" is nothing."""
    summary = run.summary

    def told(metric: str, shown: Callable[[float], str]) -> str:
        found = value(summary, metric)
        return "" if math.isnan(found) else shown(found)

    yield "protocol", run.protocol
    yield "rounds", told("rounds", lambda rounds: f"{rounds:.0f}")
    for name in ("accuracy", "perplexity"):
        yield name, told(name, lambda measured: f"{measured:.4g}")
    yield "simulated", told("sim_time_s", format_seconds)
    yield "sent", told("bytes.total", format_bytes)
    yield "energy without idle", told("energy_j.marginal", format_energy)
    ended = summary.get("outcome") or ("done" if summary.get("complete", True) else "not ended")
    yield "ended", " ".join(str(ended).split())


def load(folder: str | Path) -> Results:
    """Load a run directory, also of a run that was killed.

    Without a ``summary.json`` the run did not end: its summary is what the recorded events tell, with
    ``"complete": False``.

    Raises:
        InputError: the folder is no run directory, or a file of it cannot be read.
    """
    folder = Path(folder)
    try:
        _refuse_other(folder)
        return _loaded(folder)
    except OSError as error:
        raise refused(error, f"{shown(folder)} cannot be read") from None


def _loaded(folder: Path) -> Results:
    topology, scenario = contents.topology_of(folder), contents.scenario_of(folder)
    events = contents.events_of(folder, topology)
    rounds = rounds_table(events, topology)
    if (folder / "summary.json").exists():
        summary = {"complete": True, **contents.summary_of(folder)}
        if (folder / "rounds.csv").exists():
            rounds = contents.rounds_of(folder, rounds)
    else:
        protocol, stop = (scenario.get(key) or {} for key in ("protocol", "stop"))
        summary = {"complete": False, "protocol": protocol.get("kind", ""), "seed": scenario.get("seed"),
                   **summarise(events, topology, stop.get("target_accuracy"))}  # fmt: skip
    name = summary.get("name") or scenario.get("name") or folder.resolve().name
    return Results(events, rounds, summary, topology, folder, str(name), contents.privacy_of(folder), scenario)


def _refuse_other(folder: Path) -> None:
    told = shown(folder)
    if folder.is_file():
        hint = f"; run it first: elsa-sim run {told}" if folder.suffix in (".yaml", ".yml") else ""
        raise InputError(f"{told} is a file, not a run directory{hint}")
    beside = "".join(f"; {shown(each)} holds what was recorded there" for each in _beside(folder))
    if not folder.is_dir():
        raise InputError(f"there is no run directory {told}{beside}")
    if not any((folder / name).exists() for name in (TABLE, STREAM)):
        if folder.name.endswith(PARTIAL):
            if not holds_nothing(folder):
                raise InputError(
                    f"{told} is what is left of a run that was killed; 'elsa-sim resume {told}' goes on with it"
                )
            raise InputError(f"{told} is what is left of a run that was killed before it recorded anything; delete it")
        inside = sorted(shown(p.parent) for name in (TABLE, STREAM) for p in folder.glob(f"*/{name}"))
        hint = f"; did you mean {', '.join(inside[:5])}?" if inside else beside
        raise InputError(f"{told} is no run directory: it holds no {TABLE}, which 'elsa-sim run' writes{hint}")
    if not (folder / "topology.json").exists():
        raise InputError(f"{told} is no run directory: it holds no topology.json, so its nodes have no roles")


def _beside(folder: Path) -> list[Path]:
    """Where a run that was killed, or is going on, left what it recorded for ``folder``."""
    real = Path(os.path.realpath(folder))
    replaced = sorted(real.parent.glob(f"{glob.escape(real.name)}.replaced*"))
    return [each for each in (partial_of(real), *replaced) if is_run_directory(each)]
