"""Laws of every registered protocol; one that is added is held to them, too."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from protocol_laws import LAWS, TIMING
from small_runs import known, played, same_rows

from elsa_sim.base.registry import discover
from elsa_sim.protocols.base import Protocol

discover("elsa_sim.protocols")
KINDS = sorted(kind for kind, member in Protocol.members.items() if member.__module__.startswith("elsa_sim."))


def small(kind: str) -> str:
    return f"{{kind: {kind}, rounds: 2, local_steps: 2, lr: 5.0e-3}}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAWS)
def test_law(kind: str, name: str, tmp_path: Path) -> None:
    needs = {"folder": tmp_path} if "folder" in inspect.signature(LAWS[name]).parameters else {}
    LAWS[name](small(kind), **needs)


def test_all_protocols_are_here() -> None:
    assert {"elsa", "splitfed_v1", "splitfed_v2", "hierfavg", "centralized"} <= set(KINDS)
    assert {"fedavg", "fedprox", "fedadam", "fedams"} <= set(KINDS)


def test_only_adapters_cross_for_whole_models_and_nothing_for_centralised() -> None:
    assert set(known(f"protocol={small('fedavg')}").summary["bytes"]["by_kind"]) == {"adapters"}
    assert known(f"protocol={small('centralized')}").summary["bytes"]["total"] == 0


def test_elsa_aggregates_at_edges_and_at_the_cloud() -> None:
    results = played("protocol={kind: elsa, rounds: 2, edge_rounds: 3, local_steps: 1}", TIMING)
    rows = results.events[results.events["kind"] == "aggregation"]
    assert rows.groupby("node", observed=True).size().to_dict() == {"edge0": 6, "edge1": 6, "cloud": 2}


def test_results_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    written = played(f"protocol={small('elsa')}", folder=tmp_path / "run")
    assert same_rows(written.events, known(f"protocol={small('elsa')}").events)
