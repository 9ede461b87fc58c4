"""A run as data: what a run directory holds.

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from ..base.errors import InputError
from .event_table import STREAM, TABLE, read_events
from .frames import frame
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

    @property
    def protocol(self) -> str:
        """The kind of the training protocol."""
        return str(self.summary.get("protocol", ""))


def load(folder: str | Path) -> Results:
    """Load a run directory, also of a run that was killed.

    Without a ``summary.json`` the run did not end: its summary is what the recorded events tell, with
    ``"complete": False``.

    Raises:
        InputError: the folder is no run directory, or a file of it cannot be read.
    """
    _refuse_other(folder := Path(folder))
    try:
        events = frame(read_events(folder))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{folder}: the event table cannot be read: {error}") from error
    topology = _read(folder / "topology.json", json.loads)
    scenario = _read(folder / "scenario.yaml", yaml.safe_load) if (folder / "scenario.yaml").exists() else {}
    rounds = rounds_table(events, topology)
    if (folder / "summary.json").exists():
        summary = {"complete": True, **_read(folder / "summary.json", json.loads)}
        if (folder / "rounds.csv").exists():
            rounds = _read(folder / "rounds.csv", lambda text: pd.read_csv(StringIO(text)))
    else:
        protocol, stop = (scenario.get(key) or {} for key in ("protocol", "stop"))
        summary = {"complete": False, "protocol": protocol.get("kind", ""), "seed": scenario.get("seed"),
                   **summarise(events, topology, stop.get("target_accuracy"))}  # fmt: skip
    name = summary.get("name") or scenario.get("name") or folder.resolve().name
    attacked = folder / "privacy.csv"
    privacy = _read(attacked, lambda text: pd.read_csv(StringIO(text))) if attacked.exists() else None
    return Results(events, rounds, summary, topology, folder, str(name), privacy)


def _refuse_other(folder: Path) -> None:
    if folder.is_file():
        hint = f"; run it first: elsa-sim run {folder}" if folder.suffix in (".yaml", ".yml") else ""
        raise InputError(f"{folder} is a file, not a run directory{hint}")
    if not folder.is_dir():
        raise InputError(f"there is no run directory {folder}")
    if not any((folder / name).exists() for name in (TABLE, STREAM)):
        inside = sorted(str(p.parent) for name in (TABLE, STREAM) for p in folder.glob(f"*/{name}"))
        hint = f"; did you mean {', '.join(inside[:5])}?" if inside else ""
        raise InputError(f"{folder} is no run directory: it holds no {TABLE}, which 'elsa-sim run' writes{hint}")
    if not (folder / "topology.json").exists():
        raise InputError(f"{folder} is no run directory: it holds no topology.json, so its nodes have no roles")


def _read(path: Path, parse: Any) -> Any:
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # a JSON or CSV fault is a ValueError
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict | pd.DataFrame):
        raise InputError(f"{path} cannot be read: expected a mapping, got {type(value).__name__}")
    return value
