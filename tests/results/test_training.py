"""What a run is told of that trained nothing, or not everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from elsa_sim.results.training import majority, never_took_part, training_facts, warnings

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])


def events(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["kind", "node", "detail", "status"])


def told(**changes: Any) -> list[str]:
    facts = {
        "loss_start": 1.0,
        "loss_end": 0.5,
        "majority": 0.5,
        "tested": 100,
        "never_took_part": [],
        "codec_error": {},
    }
    summary = {"rounds": 3, "accuracy": 0.9, "training": facts | changes.pop("facts", {})} | changes
    return list(warnings(summary))


def test_the_most_frequent_class() -> None:
    assert majority(LABELS) == 0.5
    assert majority(None) is None
    assert majority(np.zeros(0, np.int64)) is None


def test_who_never_took_part() -> None:
    """a trained and sent; b's adapters never arrived; c finished nothing; d is not among those that are to train."""
    rows = events(
        ("compute", "a", "whole", "ok"), ("transfer", "a", "adapters", "ok"),
        ("compute", "b", "whole", "ok"), ("transfer", "b", "adapters", "aborted"),
        ("compute", "c", "whole", "lost"), ("compute", "d", "whole", "ok"),
    )  # fmt: skip
    assert never_took_part(rows, ["a", "b", "c"]) == ["b", "c"]
    assert never_took_part(rows[rows["kind"] == "compute"], ["a", "b", "c"]) == ["c"]  # nobody sends adapters at all
    assert never_took_part(rows, []) == []


def test_facts_are_those_of_the_first_and_the_last_evaluation() -> None:
    rounds = pd.DataFrame({"round": [0, 1, 2], "loss": [1.5, 2.0, 1.75], "activation_error": [0.5, 0.25, 0.75]})
    assert training_facts(events(), rounds, ["a"], LABELS) == {
        "loss_start": 1.5, "loss_end": 1.75, "majority": 0.5, "tested": 10, "never_took_part": ["a"],
        "codec_error": {"activation": 0.75},
    }  # fmt: skip
    late = training_facts(events(), rounds.assign(round=[1, 2, 3]), (), LABELS)
    assert (late["loss_start"], late["loss_end"]) == (None, 1.75)  # the first evaluation was after training
    unmeasured = training_facts(events(), rounds.assign(loss=np.nan), (), LABELS)
    assert [unmeasured[key] for key in ("loss_start", "loss_end", "majority")] == [None] * 3


def test_a_run_that_trained_is_told_of_nothing() -> None:
    assert told() == []
    assert told(accuracy=None, facts={"loss_start": None, "loss_end": None, "majority": None}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": 0.5}, "accuracy 0.5000 is no better than always answering the most frequent class (0.5000"),
        ({"accuracy": 0.549}, "accuracy 0.5490 is no better"),  # one standard error is 0.05
        ({"facts": {"loss_end": 1.01}}, "test loss 1.01 is above that before training (1)"),
        ({"facts": {"never_took_part": ["a"]}}, "a never took part"),
        ({"facts": {"never_took_part": [f"c{i}" for i in range(7)]}}, "7 clients never took part: c0, c1, c2, c3, c4 and 2 more"),
        ({"facts": {"codec_error": {"activation": 1.62, "adapters": 0.99}}}, "of activation messages behind their codecs is 162 %"),
    ],
)  # fmt: skip
def test_each_silent_failure_is_one_line(changes: dict[str, Any], words: str) -> None:
    (line,) = told(**changes)
    assert words in line


def test_accuracy_just_above_one_standard_error_is_learning() -> None:
    assert told(accuracy=0.5501) == []


def test_before_any_round_nothing_is_told() -> None:
    assert told(rounds=0, accuracy=0.1) == []
