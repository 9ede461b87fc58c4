"""Scores of clients and the areas under their curves, from a table made by hand."""

from __future__ import annotations

from typing import Any

from elsa_sim.results.event_table import Recorder
from elsa_sim.results.metrics import frame, trust_auc, trust_scores
from elsa_sim.results.trust import summary


def table() -> Any:
    recorder = Recorder()
    for round, trusts in ((1, {"a": 0.9, "b": 0.8, "c": 0.7}), (3, {"a": 0.9, "b": 0.6, "c": 0.7})):
        for client, trust in trusts.items():
            recorder.add("assignment", 0.0, 0.0, client, peer="edge0", round=round, detail="probed",
                         metrics={"trust": trust, "group": 0})  # fmt: skip
    for round, scores in (
        (1, {"a": 1.0, "b": 0.2}),
        (1, {"c": 1.0}),
        (1, {"a": 0.0, "b": 1.0}),
        (2, {"a": 1.0, "c": 0.5}),
    ):
        recorder.add("update", 0.0, 0.0, "edge0", round=round, detail="judged", metrics=scores)
    recorder.add("assignment", 0.0, 0.0, "a", peer="edge0", round=5, detail="probed", metrics={})  # timing mode
    recorder.add("update", 0.0, 0.0, "cloud", round=1, detail="alignment of version 3", metrics={"layer0": 0.1})
    return frame(recorder.close())


def test_scores_and_areas_by_hand() -> None:
    """b lies: below one of two by answers at first, below both later; by updates its first score of a round counts."""
    found = trust_scores(table())
    assert found["judge"].tolist() == ["answers"] * 6 + ["updates"] * 7
    assert found.iloc[-1].tolist() == ["updates", 2, "c", 0.5]
    expected = {"answers": {1: 0.5, 3: 1.0}, "updates": {1: 1.0}}
    assert trust_auc(table(), ["b"]) == expected
    assert summary(table(), {"b": "noise"}) == {
        "trust": {"auc": {"answers": {"1": 0.5, "3": 1.0}, "updates": {"1": 1.0}}}
    }


def test_without_liars_or_judges_there_is_nothing_to_tell() -> None:
    assert summary(table(), []) == {}
    assert summary(frame(Recorder().close()), ["b"]) == {}
