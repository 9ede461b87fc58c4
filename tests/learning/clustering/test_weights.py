"""What clients and edge servers weigh, by hand, and that any aggregation rule takes these weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from elsa_sim.learning.aggregation.base import Aggregation, DeferredWeights
from elsa_sim.learning.aggregation.rules.krum import Krum
from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.aggregation.rules.median import Median
from elsa_sim.learning.aggregation.rules.norm_clipping import NormClipping
from elsa_sim.learning.aggregation.rules.outlier import Outlier
from elsa_sim.learning.aggregation.rules.trimmed_mean import TrimmedMean
from elsa_sim.learning.clustering.scores import ClientScores
from elsa_sim.learning.clustering.updates import Record
from elsa_sim.learning.clustering.weights import AggregationWeights, coherence
from elsa_sim.learning.execution.work import Ref, TensorSpec
from elsa_sim.learning.training.model import Model


def scores(trust: list[float]) -> Ref:
    apart = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])  # median 2
    return Ref.of(ClientScores(apart, np.zeros(3, dtype=np.int64), np.array(trust)), None)


def adapters(*values: float) -> list[Ref]:
    return [Ref.of({"x": torch.tensor([value])}, {"x": TensorSpec((1,))}) for value in values]


def value(weights: DeferredWeights, kept: Ref, new: list[Ref], rule: Aggregation | None = None) -> float:
    """The aggregate of ``new``; ``kept`` where nobody counts."""
    made = Model.aggregate(None, rule or Mean(), new, weights, kept)  # type: ignore[arg-type]
    return float(made.function(*(each.value if isinstance(each, Ref) else each for each in made.inputs))[0]["x"])


SAMPLES = {"a": 10.0, "b": 20.0, "c": 30.0, "d": 40.0}


def test_edge_weights_by_hand() -> None:
    """|D| t: 10, 10, and none for the third, whose trust is under 0.5 of the median; d has not been judged."""
    weights, (kept, *new) = (
        AggregationWeights(("a", "b", "c"), scores([1.0, 0.5, 0.2]), 0.5),
        adapters(9, 1, 2, 4, 8),
    )
    edge = weights.edge(("a", "b", "c", "d"), SAMPLES)
    assert value(edge, kept, new) == pytest.approx((10 * 1 + 10 * 2 + 40 * 8) / 60)
    broken = [*new[:2], adapters(float("nan"))[0], new[3]]  # what is in quarantine is not looked at
    assert value(edge, kept, broken) == value(edge, kept, new)
    nobody_left_out = AggregationWeights(("a", "b", "c"), weights.scored).edge(("a", "b", "c"), SAMPLES)
    assert value(nobody_left_out, kept, new[:3]) == pytest.approx((10 * 1 + 10 * 2 + 6 * 4) / 26)
    alone = weights.edge(("c",), SAMPLES)
    assert value(alone, kept, [new[2]]) == 9  # nobody counts: the adapters stay


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(), Outlier(), NormClipping(), Krum()], ids=repr)
def test_a_rule_and_trust_go_together(rule: Aggregation) -> None:
    """Whoever is in quarantine is not looked at by any rule, and the rest weigh what trust makes of their samples."""
    kept, *new = adapters(0.0, 1.0, 2.0, 3.5, 50.0, 4.0, 9.0)
    names, samples = tuple("abcdef"), dict.fromkeys("abcdef", 10.0)
    weights = AggregationWeights(names, scores([1.0, 0.5, 1.0, 0.1, 1.0, 1.0]), 0.4).edge(names, samples)
    trusted = [each.value for each in (*new[:3], *new[4:])]
    expected = rule.aggregate(trusted, [10.0, 5.0, 10.0, 10.0, 10.0], kept.value)
    assert value(weights, kept, new, rule) == pytest.approx(float(expected["x"]))
    everyone = rule.aggregate([each.value for each in new], [10.0] * 6, kept.value)
    assert value(weights, kept, new, rule) != pytest.approx(float(everyone["x"]))


def test_cloud_weights_by_hand() -> None:
    weights, (kept, *new) = AggregationWeights(("a", "b", "c"), scores([1.0, 1.0, 1.0]), 0.5), adapters(0, 1, 2)
    members = (("a", "b"), ("c",))
    first = 30 * np.exp(-1 / 2)
    made = value(weights.cloud(members, SAMPLES), kept, new)
    assert made == pytest.approx((first * 1 + 30 * 2) / (first + 30))
    plain = AggregationWeights(weights.names, weights.scored, 0.5, coherent=False)
    assert value(plain.cloud(members, SAMPLES), kept, new) == pytest.approx(1.5)
    wary = AggregationWeights(("a", "b", "c"), scores([1.0, 0.1, 1.0]), 0.5)
    made = value(wary.cloud(members, SAMPLES), kept, new)
    assert made == pytest.approx((10 * 1 + 30 * 2) / 40)  # data and divergence of a alone


def test_what_was_sent_weighs_beside_what_was_answered() -> None:
    """|D| t u, none under 0.5 of the best u; at the cloud, later knowledge of a client goes before earlier."""
    known = AggregationWeights(("a", "b", "c"), scores([1.0, 0.5, 1.0]), 0.5, coherent=False)
    kept, *new = adapters(9, 1, 2, 4)
    loud = Record().louder(1.5 / math.sqrt(0.6))  # u = 0.6
    standing = Ref.of({"a": Record(), "b": loud, "c": Record().louder(30.0)}, None)
    made = value(known.edge(("a", "b", "c"), SAMPLES, standing), kept, new)
    assert made == pytest.approx((10 * 1 + 20 * 0.5 * 0.6 * 2) / (10 + 6))
    earlier = Ref.of({"b": Record().louder(30.0)}, None)
    members = (("a", "b"), ("c", "d"))
    made = value(known.cloud(members, SAMPLES, [earlier, standing]), kept, new[:2])
    assert made == pytest.approx((30 * 1 + 40 * 2) / 70)
    alone = AggregationWeights(threshold=0.5)  # nobody was probed
    assert value(alone.edge(("a", "c"), SAMPLES, standing), kept, [new[0], new[2]]) == 1


def test_coherence_by_hand() -> None:
    found = scores([1, 1, 1]).value.divergences
    assert coherence(found, [0, 1, 2]) == pytest.approx(np.exp([-0.5, -1.5, -1.0]).mean())
    assert coherence(found, [2]) == coherence(found, []) == 1.0


def test_one_client_unlike_the_others_does_not_silence_its_edge_server() -> None:
    """Divergences as they were on real text: one of five clients is 100 medians away from everybody."""
    apart = np.ones((10, 10)) - np.eye(10)
    apart[4, :] = apart[:, 4] = 100.0
    apart[4, 4] = 0.0
    outlying, plain = coherence(apart, [0, 1, 2, 3, 4]), coherence(apart, [5, 6, 7, 8, 9])
    assert outlying == pytest.approx(0.6 * plain)  # six pairs of ten are as before
