"""What ``summary.json`` tells of a run's event table.

Tested in tests/results/test_metrics.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .frames import Events, Topology, frame, number, sim_time
from .rounds import missing, rounds_table, time_to_target
from .traffic import bytes_by_direction, bytes_by_kind, bytes_lost, transfers
from .usage import SPENT, energy_by_node, energy_by_role


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
        "accuracy": number(last.get("accuracy")),
        "best_accuracy": number(rounds["accuracy"].max()),
        "loss": number(last.get("loss")),
        **{name: number(last[name]) for name in rounds.columns[7:] if len(rounds)},
        "time_to_target_s": None if target_accuracy is None else time_to_target(events, target_accuracy),
        "bytes": {"total": int(transfers(events)["bytes"].sum()), "uplink": int(ways["uplink"]),
                  "downlink": int(ways["downlink"]), **bytes_lost(events), "by_kind": bytes_by_kind(events)},
        "retries": int((transfers(events)["attempts"] - 1).clip(lower=0).sum()),
        "missing": len(missing(events)),
        "energy_j": energy(energy_by_role(events, topology)),
        "energy_by_node": {str(n): float(e) for n, e in energy_by_node(events, topology)["total"].items()},
    }  # fmt: skip


def energy(by_role: pd.DataFrame) -> dict[str, Any]:
    """Energy (J) in all and by role: ``total``, ``marginal`` (without idle), ``compute``, ``radio``, ``idle``."""
    columns = ["total", "marginal", *SPENT]

    def told(row: pd.Series) -> dict[str, float]:
        return {column: float(row[column]) for column in columns}

    return told(by_role.sum()) | {"by_role": {str(role): told(row) for role, row in by_role.iterrows()}}


def privacy_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The best attack on the scenario's own codecs, against the best on clean states: shares of tokens recovered.

    The ``attacker`` is the one from whom the codecs hide: the edge server, or one who listens on the wire. ``unaided`` leaves out
    attacks that go by known texts, ``colluding`` is what is recovered with the keys of another client (``None``: there are none).
    """
    clean = next(row for row in rows if row["chain"] == "none")
    own = [row for row in rows if row["chain"] == "own"]
    names = ("codecs", "attacker", "recovered", "unaided", "of_clean", "rouge_l", "cosine", "mse")
    colluding = next((row["recovered"] for row in own if row["attacker"] == "colluder"), None)
    return {name: own[0][name] for name in names} | {"recovered_clean": clean["recovered"], "colluding": colluding}
