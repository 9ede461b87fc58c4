"""What the files of a run directory must hold, checked when they are read: a damaged one is told by its name and place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from pandas.api.types import is_numeric_dtype
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..base.errors import InputError
from ..base.writing import shown
from .event_table import SCHEMA, STREAM, TABLE, Kind, Status, read_events
from .frames import frame

T = TypeVar("T")
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Speed = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Node(_Strict):
    name: str = Field(min_length=1)
    role: Literal["cloud", "edge", "client", "router"] = "router"
    x: Finite = 0.0
    y: Finite = 0.0


class _Link(_Strict):
    u: str
    v: str
    up_bps: Speed
    down_bps: Speed
    latency_s: Amount = 0.0


class _Topology(_Strict):
    nodes: list[_Node] = Field(min_length=1)
    links: list[_Link]


class _Bytes(_Strict):
    total: Count
    uplink: Count
    downlink: Count
    aborted: Count = 0
    wasted: Count = 0
    by_kind: dict[str, Count] = {}


class _Spent(_Strict):
    total: Finite
    marginal: Finite
    compute: Finite
    radio: Finite
    idle: Finite


class _Energy(_Spent):
    by_role: dict[str, _Spent] = {}


class _Training(_Strict):
    loss_start: Finite | None = None
    loss_end: Finite | None = None
    majority: Finite | None = None
    tested: Count = 0
    never_took_part: list[str] = []
    codec_error: dict[str, float | None] = {}


class _Summary(_Strict):
    protocol: str
    sim_time_s: Amount
    rounds: Count
    accuracy: Finite | None
    best_accuracy: Finite | None
    loss: Finite | None
    time_to_target_s: Amount | None = None
    bytes: _Bytes
    energy_j: _Energy | Finite
    """One number in run directories of earlier versions."""
    energy_by_node: dict[str, Finite] = {}
    retries: Count = 0
    missing: Count = 0
    name: str = ""
    seed: int | None = None
    complete: bool = True
    outcome: str = ""
    host: dict[str, Finite] = {}
    privacy: dict[str, str | float | None] | None = None
    updates: dict[str, float | None] | None = None
    unreliable: dict[str, str] | None = None
    training: _Training | None = None
    warnings: list[str] = []
    notes: list[str] = []
    inputs: dict[str, str] = {}


class _Stop(_Strict):
    target_accuracy: float | None = None


class _Protocol(_Strict):
    kind: str = ""


class _Scenario(_Strict):
    name: str = ""
    seed: int | None = None
    protocol: _Protocol | None = None
    stop: _Stop | None = None


def topology_of(folder: Path) -> dict[str, Any]:
    """The topology of a run directory.

    Raises:
        InputError: the file cannot be read, or does not hold a topology.
    """
    path = folder / "topology.json"
    found = _fitting(_Topology, path, _parsed(path, json.loads))
    names = [node["name"] for node in found["nodes"]]
    if len(set(names)) < len(names):
        raise InputError(f"{shown(path)}: two nodes have the same name")
    for i, link in enumerate(found["links"]):
        for end in ("u", "v"):
            if link[end] not in set(names):
                raise InputError(f"{shown(path)}: links.{i}.{end}: there is no node {link[end][:60]!r}")
    return found


def summary_of(folder: Path) -> dict[str, Any]:
    """The summary of a run directory whose run has ended.

    Raises:
        InputError: the file cannot be read, lacks something, or holds something else.
    """
    path = folder / "summary.json"
    return _fitting(_Summary, path, _parsed(path, json.loads))


def scenario_of(folder: Path) -> dict[str, Any]:
    """What the scenario of a run directory says of name, seed, protocol and target; empty if there is none.

    Raises:
        InputError: the file cannot be read, or is no scenario.
    """
    path = folder / "scenario.yaml"
    return _fitting(_Scenario, path, _parsed(path, yaml.safe_load)) if path.exists() else {}


def events_of(folder: Path, topology: Mapping[str, Any]) -> pd.DataFrame:
    """The event table of a run directory, also of one whose run was killed.

    Raises:
        InputError: it cannot be read, or holds what no run writes.
    """
    path = folder / (TABLE if (folder / TABLE).exists() else STREAM)
    try:
        table = read_events(folder)
        lacking = [name for name in SCHEMA.names if name not in table.schema.names]
        if lacking:
            raise InputError(f"{shown(path)}: the event table has no column {', '.join(lacking)}")
        table = table.select(SCHEMA.names).cast(SCHEMA)
        table.validate(full=True)
        events = frame(table)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{shown(path)}: the event table cannot be read: {_line(error)}") from None
    fault = _fault(table, events, {node["name"] for node in topology["nodes"]})
    if fault is not None:
        raise InputError(f"{shown(path)}: {fault}")
    return events


def _fault(table: pa.Table, events: pd.DataFrame, nodes: set[str]) -> str | None:
    """What of the values no run writes."""
    for name in SCHEMA.names:
        if table.column(name).null_count:
            return f"column {name} lacks values"
    known: dict[str, set[str]] = {"kind": set(get_args(Kind)), "status": set(get_args(Status)), "node": nodes,
                                  "peer": {*nodes, ""}}  # fmt: skip
    for name, values in known.items():
        strange = sorted(set(map(str, events[name].cat.categories)) - values)
        if strange:
            return f"column {name} holds {strange[0][:60]!r}, which no run of this topology writes there"
    for column in SCHEMA:
        if pa.types.is_floating(column.type) and not np.isfinite(events[column.name]).all():
            return f"column {column.name} holds values that are not finite"
    if (events["t_start_s"] < 0).any() or (events["t_end_s"] < events["t_start_s"]).any():
        return "rows end before they begin, or before the run"
    for name in ("bytes", "wasted_bytes", "attempts", "round", "step"):
        if (events[name] < 0).any():
            return f"column {name} holds negative numbers"
    for text in events["metrics"].cat.categories:
        if text and not isinstance(_json(text), dict):
            return f"column metrics holds {text[:60]!r}, which is no JSON object"
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def rounds_of(folder: Path, expected: pd.DataFrame) -> pd.DataFrame:
    """The table of rounds of a run directory; ``expected`` is what its events tell. It has host times beside.

    Raises:
        InputError: it cannot be read, or is not about the same evaluations.
    """
    path = folder / "rounds.csv"
    found = _table(path)
    for name in expected.columns[:7]:
        if name not in found:
            raise InputError(f"{shown(path)}: there is no column {name}")
    for name in [*expected.columns, "host_time_s"]:
        if name in found and not is_numeric_dtype(found[name]) and len(found):
            raise InputError(f"{shown(path)}: column {name} holds what is no number")
    if len(found) != len(expected) or not np.allclose(
        found[["round", "sim_time_s"]], expected[["round", "sim_time_s"]]
    ):
        raise InputError(
            f"{shown(path)}: its rows are not the evaluations of the event table; delete it to load the run"
        )
    if found[["uplink_bytes", "downlink_bytes", "energy_j"]].isna().any(axis=None):
        raise InputError(f"{shown(path)}: bytes or energy are missing from a row")
    return found


def privacy_of(folder: Path) -> pd.DataFrame | None:
    """What attacks recovered, a row per codec chain; ``None`` if nobody asked.

    Raises:
        InputError: it cannot be read, or lacks something.
    """
    path = folder / "privacy.csv"
    if not path.exists():
        return None
    found = _table(path)
    if "attacker" not in found:  # runs of before there were others than the edge server
        found["attacker"] = "edge"
    for name in ("chain", "codecs", "bytes_per_token", "recovered", "of_clean"):
        if name not in found:
            raise InputError(f"{shown(path)}: there is no column {name}")
    for name in found.columns:
        if name not in ("chain", "attacker", "codecs") and not is_numeric_dtype(found[name]):
            raise InputError(f"{shown(path)}: column {name} holds what is no number")
    return found


def _table(path: Path) -> pd.DataFrame:
    return _parsed(path, lambda text: pd.read_csv(StringIO(text)))


def _parsed(path: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
        OverflowError,
        RecursionError,
        yaml.YAMLError,
    ) as error:  # JSON's and CSV's are ValueErrors
        raise InputError(f"{shown(path)} cannot be read: {_line(error)}") from None


def _fitting(model: type[BaseModel], path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{shown(path)} cannot be read: expected a mapping, got {type(value).__name__}")
    try:
        model.model_validate(value)
    except ValidationError as error:
        first, *more = error.errors()
        where = ".".join(str(part)[:60] for part in first["loc"])
        others = f" (and {len(more)} more faults)" if more else ""
        raise InputError(f"{shown(path)}: {where}: {first['msg'].lower()}{others}") from None
    return value


def _line(error: BaseException) -> str:
    said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return said[:200] or type(error).__name__
