"""A run as data: load it, and derive every metric from its event table.

The metrics are pure functions of the event table (a pandas or Arrow table with the columns of ``recorder.SCHEMA``) and,
where roles or links matter, of the topology: a mapping with ``nodes`` (``name``, ``role``) and ``links`` (``u``, ``v``,
``up_bps`` for u -> v, ``down_bps`` for v -> u). The summary of a run, its table of rounds and its figures all come from
here, so they cannot disagree.

Bytes are those of every transfer row, whatever became of it: what was aborted or is still in flight was charged to the
wire too. In totals a message counts once, however many hops it takes; in ``bytes_by_link`` on each hop of its route.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from ..base.errors import InputError
from ..base.tiers import TIER
from .event_table import STREAM, TABLE, read_events

Events: TypeAlias = pd.DataFrame | pa.Table
Topology: TypeAlias = Mapping[str, Any]

#: The kinds of rows that keep a device busy.
WORK = ("compute", "aggregation")


@dataclass(frozen=True, eq=False)
class Results:
    """One run. ``rounds`` has one row per evaluation, ``events`` the rows of ``recorder.SCHEMA``."""

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


def frame(events: Events) -> pd.DataFrame:
    """The event table in pandas; text columns become categories, so that millions of rows stay small and fast."""
    if isinstance(events, pd.DataFrame):
        return events
    for i, column in enumerate(events.schema):
        if column.type == pa.string():
            events = events.set_column(i, column.name, events.column(i).dictionary_encode())
    result: pd.DataFrame = events.to_pandas()
    return result


def _roles(topology: Topology) -> dict[str, str]:
    return {node["name"]: node.get("role", "router") for node in topology["nodes"]}


def _number(value: Any) -> float | None:
    """A finite float, or ``None``."""
    return float(value) if value is not None and math.isfinite(value) else None


def transfers(events: Events) -> pd.DataFrame:
    """The rows of transfers."""
    return (events := frame(events))[events["kind"] == "transfer"]


def sim_time(events: Events) -> float:
    """The time at which the last thing ended (s)."""
    return float(frame(events)["t_end_s"].max()) if len(events) else 0.0


def bytes_by_kind(events: Events) -> dict[str, int]:
    """Message kind -> bytes, headers included."""
    sums = transfers(events).groupby("detail", observed=True)["bytes"].sum()
    return {kind: int(total) for kind, total in sorted((str(kind), total) for kind, total in sums.items())}


def _direction(events: pd.DataFrame, topology: Topology) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Per row: 1 towards the cloud, -1 away from it, 0 neither (equal roles, or no transfer)."""
    roles, ends = _roles(topology), []
    for column in ("node", "peer"):
        text = events[column].astype("category")
        rank = np.array([TIER.get(roles.get(name, ""), math.nan) for name in text.cat.categories] + [math.nan])
        ends.append(rank[text.cat.codes.to_numpy()])
    sign = np.nan_to_num(np.sign(ends[1] - ends[0])).astype(np.int8)
    return np.where((events["kind"] == "transfer").to_numpy(), sign, np.int8(0))


def bytes_by_direction(events: Events, topology: Topology) -> pd.DataFrame:
    """Bytes per message kind (index) and direction: ``uplink``, ``downlink``, ``lateral`` (between equal roles)."""
    rows = transfers(events)
    way, sent = _direction(rows, topology), rows["bytes"]
    ways = {"uplink": sent.where(way == 1, 0), "downlink": sent.where(way == -1, 0), "lateral": sent.where(way == 0, 0)}
    table = pd.DataFrame(ways).groupby(rows["detail"], observed=True).sum().astype("int64")
    table.index = table.index.astype(str)
    return table.sort_index()


def bytes_lost(events: Events) -> dict[str, int]:
    """``aborted``: bytes of the messages that did not arrive; ``wasted``: bytes that went over wires for nothing.

    Wasted are attempts that failed, in part or in full, and packets sent again. What was aborted before it was sent is
    not wasted.
    """
    rows = transfers(events)
    return {"aborted": int(rows.loc[rows["status"] == "aborted", "bytes"].sum()),
            "wasted": int(rows["wasted_bytes"].sum())}  # fmt: skip


def missing(events: Events) -> pd.DataFrame:
    """Who was missing from which round: ``round``, ``node``, ``since_s`` (when the round began), ``at_s``, ``reason``."""
    events = frame(events)
    rows = events[(events["kind"] == "fault") & (events["detail"] == "missing")]
    reasons = [json.loads(text).get("reason", "") if text else "" for text in rows["metrics"]]
    return pd.DataFrame({"round": rows["round"].to_numpy("int64"), "node": rows["node"].astype(str).to_numpy(),
                         "since_s": rows["t_start_s"].to_numpy(), "at_s": rows["t_end_s"].to_numpy(),
                         "reason": reasons})  # fmt: skip


def bytes_by_link(events: Events) -> pd.DataFrame:
    """Bytes per directed link: ``u``, ``v``, ``bytes``; a transfer's bytes count on each hop of its route."""
    load: dict[tuple[str, str], int] = {}
    for route, total in transfers(events).groupby("route", observed=True)["bytes"].sum().items():
        hops = str(route).split(">")
        for hop in pairwise(hops):
            load[hop] = load.get(hop, 0) + int(total)
    return pd.DataFrame([(u, v, n) for (u, v), n in sorted(load.items())], columns=["u", "v", "bytes"])


def link_load(events: Events, topology: Topology) -> pd.DataFrame:
    """Both directions of every link: ``u``, ``v``, ``bytes``, ``capacity_bps`` (bit/s), ``utilisation``.

    Utilisation is the mean over the run: bits carried over what the nominal bandwidth could have carried by then.
    """
    load = {(u, v): n for u, v, n in bytes_by_link(events).itertuples(index=False)}
    ways = [way for link in topology["links"] for way in (
        (link["u"], link["v"], link["up_bps"]), (link["v"], link["u"], link["down_bps"]))]  # fmt: skip
    table = pd.DataFrame([(u, v, load.get((u, v), 0), float(bps)) for u, v, bps in ways],
                         columns=["u", "v", "bytes", "capacity_bps"])  # fmt: skip
    could = table["capacity_bps"] * sim_time(events)
    table["utilisation"] = (8.0 * table["bytes"] / could.where(could > 0)).fillna(0.0)
    return table


def _per_node(values: pd.DataFrame, topology: Topology) -> pd.DataFrame:
    """Rows for every node of the topology, in its order; what else has a row comes after."""
    values.index = values.index.astype(str)
    names = [node["name"] for node in topology["nodes"]]
    known = set(names)
    return values.reindex([*names, *(n for n in values.index if n not in known)], fill_value=0.0).rename_axis("node")


def energy_by_node(events: Events, topology: Topology) -> pd.DataFrame:
    """Energy per node (J): ``compute`` (aggregation too), ``transfer`` (sending and receiving), ``idle``, ``total``."""
    events = frame(events)
    kind = np.select([events["kind"].isin(WORK), events["kind"] == "transfer"], ["compute", "transfer"], "idle")
    received = events["peer_energy_j"]
    own = (events["energy_j"] - received).groupby([events["node"].astype(str), kind]).sum().unstack(fill_value=0)
    peers = received.groupby(events["peer"].astype(str)).sum().drop("", errors="ignore").rename("transfer").to_frame()
    table = own.add(peers, fill_value=0.0).fillna(0.0)
    table = _per_node(table.reindex(columns=["compute", "transfer", "idle"], fill_value=0.0), topology)
    return table.assign(total=table.sum(axis=1)).rename_axis(columns=None)


def busy_seconds_by_node(events: Events, topology: Topology, window: tuple[float, float] | None = None) -> pd.Series:
    """Seconds in which a node computes at least one thing, in all or within a window of time (s).

    What did not end is left out: it may have waited for the device.
    """
    events = frame(events)
    rows = events["kind"].isin(WORK) & (events["status"] != "in_flight")
    work = events.loc[rows, ["node", "t_start_s", "t_end_s"]]
    if window is not None:
        work = work.assign(t_start_s=work["t_start_s"].clip(*window), t_end_s=work["t_end_s"].clip(*window))
    work = work.sort_values(["node", "t_start_s"], kind="stable")
    by_node = work.groupby("node", observed=True)["t_end_s"]
    covered = by_node.cummax().groupby(work["node"], observed=True).shift()  # earlier work lasts until then
    new = (work["t_end_s"] - np.fmax(work["t_start_s"], covered)).clip(lower=0.0)
    return _per_node(new.groupby(work["node"], observed=True).sum().to_frame("busy_s"), topology)["busy_s"]


def utilisation(events: Events, topology: Topology) -> pd.DataFrame:
    """Per node: ``role``, ``busy_s``, ``utilisation`` and ``idle`` (shares of the simulated time)."""
    busy, horizon = busy_seconds_by_node(events, topology), sim_time(events)
    share = busy / horizon if horizon > 0 else busy * 0.0
    role = busy.index.map(lambda name: _roles(topology).get(name, ""))
    return pd.DataFrame({"role": role, "busy_s": busy, "utilisation": share, "idle": 1.0 - share}, index=busy.index)


def rounds_table(events: Events, topology: Topology) -> pd.DataFrame:
    """One row per evaluation; bytes and energy are those of everything that ended up to then.

    Columns: ``round``, ``sim_time_s``, ``accuracy``, ``loss``, ``uplink_bytes``, ``downlink_bytes``, ``energy_j``, and
    whatever else the evaluation measured (``macro_f1``, ``perplexity``). What it did not measure is NaN.
    """
    events = frame(events)
    way = _direction(events, topology)
    table, rows, order = _evaluations(events)
    for name, sign in (("uplink_bytes", 1), ("downlink_bytes", -1)):
        table[name] = np.cumsum(np.where(way == sign, events["bytes"], 0)[order])[rows]
    table["energy_j"] = np.cumsum(events["energy_j"].to_numpy()[order])[rows]
    first = ["round", "sim_time_s", "accuracy", "loss", "uplink_bytes", "downlink_bytes", "energy_j"]
    return table[first + [c for c in table.columns if c not in first]]


def accuracy_curve(events: Events) -> pd.DataFrame:
    """One row per evaluation: ``round``, ``sim_time_s``, ``bytes`` sent by then, ``accuracy``, ``loss`` and others."""
    events = frame(events)
    table, rows, order = _evaluations(events)
    table.insert(2, "bytes", np.cumsum(np.where(events["kind"] == "transfer", events["bytes"], 0)[order])[rows])
    return table


def _evaluations(events: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The evaluations, where they stand among all rows by time of ending, and that order of the rows."""
    ends = events["t_end_s"].to_numpy()
    order = np.argsort(ends, kind="stable") if (np.diff(ends) < 0).any() else np.arange(len(ends))
    rows = np.flatnonzero((events["kind"] == "evaluation").to_numpy()[order])
    found = events.iloc[order[rows]]
    measured = [json.loads(text) if text else {} for text in found["metrics"]]
    names = dict.fromkeys(["accuracy", "loss", *sorted({name for m in measured for name in m})])
    columns = {name: [v if isinstance(v := m.get(name), int | float) else math.nan for m in measured] for name in names}
    table = pd.DataFrame({"round": found["round"].to_numpy("int64"), "sim_time_s": found["t_end_s"].to_numpy(),
                          **{name: np.array(values, float) for name, values in columns.items()}})  # fmt: skip
    unmeasured = [n for n in list(names)[2:] if table[n].isna().all()]  # a list, or a text
    return table.drop(columns=unmeasured), rows, order


def time_to_target(events: Events, accuracy: float) -> float | None:
    """The simulated time (s) of the first evaluation that reaches ``accuracy``; ``None`` when none does."""
    curve = accuracy_curve(events)
    return _number(curve.loc[curve["accuracy"] >= accuracy, "sim_time_s"].min())


def privacy_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The best attack on the scenario's own codecs, against the best on clean states: shares of tokens recovered."""
    by_chain = {row["chain"]: row for row in rows}
    own, clean = by_chain["own"], by_chain["none"]
    return {name: own[name] for name in ("codecs", "recovered", "of_clean", "rouge_l", "cosine", "mse")} | {
        "recovered_clean": clean["recovered"]
    }


def summarise(events: Events, topology: Topology, target_accuracy: float | None = None) -> dict[str, Any]:
    """The part of ``summary.json`` that the event table tells; ``None`` for what was not measured or not reached.

    Further measures of the last evaluation (``macro_f1``, ``perplexity``) are added under their own names.
    """
    events = frame(events)
    rounds = rounds_table(events, topology)
    last = rounds.iloc[-1] if len(rounds) else pd.Series(dtype=float)
    ways = bytes_by_direction(events, topology).sum()
    return {
        "sim_time_s": sim_time(events),
        "rounds": int(rounds["round"].max()) if len(rounds) else 0,
        "accuracy": _number(last.get("accuracy")),
        "best_accuracy": _number(rounds["accuracy"].max()),
        "loss": _number(last.get("loss")),
        **{name: _number(last[name]) for name in rounds.columns[7:] if len(rounds)},
        "time_to_target_s": None if target_accuracy is None else time_to_target(events, target_accuracy),
        "bytes": {"total": int(transfers(events)["bytes"].sum()), "uplink": int(ways["uplink"]),
                  "downlink": int(ways["downlink"]), **bytes_lost(events), "by_kind": bytes_by_kind(events)},
        "retries": int((transfers(events)["attempts"] - 1).clip(lower=0).sum()),
        "missing": len(missing(events)),
        "energy_j": float(events["energy_j"].sum()),
        "energy_by_node": {str(n): float(e) for n, e in energy_by_node(events, topology)["total"].items()},
    }  # fmt: skip
