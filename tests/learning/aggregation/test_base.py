"""Merging changes by a rule, blocks, and weights that are known later; the laws of rules are in test_laws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elsa_sim.learning.aggregation.alignment import Change, group_change, module_of
from elsa_sim.learning.aggregation.base import Aggregate, Fixed, MergeChanges, blocks
from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.aggregation.rules.median import Median
from elsa_sim.learning.aggregation.rules.norm_clipping import NormClipping

NAMES = ("layer.0.lora_A", "layer.0.lora_B", "head.weight")


def adapters(*values: float) -> dict[str, Tensor]:
    return {name: torch.full((2, 3), value) for name, value in zip(NAMES, values, strict=False)}


def test_merging_changes_by_the_mean_is_fedbuffs_sum() -> None:
    theta, base, other = adapters(1.0, 2.0, 3.0), adapters(0.5, 0.5, 0.5), adapters(0.0, 4.0, 1.0)
    trained = [adapters(1.0, 0.0, 2.0), adapters(3.0, 5.0), adapters(-1.0, 1.0, 1.0)]  # one has no head
    alpha = {"layer.0": 0.5, "head": 0.25}
    weights = (0.3, 0.2, 0.9)
    updates = [base, None, trained[0], base, None, trained[1], other, alpha, trained[2]]
    (found,) = MergeChanges(Mean(), weights, module_of)(theta, *updates)
    (expected,) = Change(weights[:2])(theta, base, None, *trained[:2])
    (expected,) = Change(weights[2:])(expected, other, alpha, trained[2])
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])


def test_merging_changes_by_another_rule_goes_as_far_as_the_weights_say() -> None:
    """Changes 1, 2 and 90 with weights 0.1, 0.2 and 0.25: the weighted median is 2, and 0.55 of it is taken."""
    theta, base = adapters(10.0), [adapters(0.0), adapters(5.0), adapters(10.0)]
    trained = [adapters(1.0), adapters(7.0), adapters(100.0)]
    updates = [each for pair in zip(base, (None,) * 3, trained, strict=True) for each in pair]
    (found,) = MergeChanges(Median(), (0.1, 0.2, 0.25), module_of)(theta, *updates)
    torch.testing.assert_close(found, adapters(10.0 + 0.55 * 2.0))
    (kept,) = MergeChanges(NormClipping(), (0.1, 0.2, 0.25), module_of)(theta, *updates)
    torch.testing.assert_close(kept, adapters(10.0 + 0.1 * 1.0 + 0.45 * 2.0))  # the third is clipped to 2


def test_the_change_of_a_group() -> None:
    base, trained = adapters(1.0), [adapters(2.0), adapters(3.0), adapters(50.0)]
    torch.testing.assert_close(group_change(Mean(), base, trained, [1.0, 1.0, 2.0]), adapters((1 + 2 + 2 * 49) / 4))
    torch.testing.assert_close(group_change(Median(), base, trained, [1.0, 1.0, 1.0]), adapters(2.0))
    torch.testing.assert_close(group_change(NormClipping(), base, trained, [1.0, 1.0, 1.0]), adapters((1 + 2 + 2) / 3))


def test_blocks_are_the_tensors_of_the_same_holders() -> None:
    assert blocks([{"a": 1, "b": 2, "c": 3}, {"b": 0, "a": 0}, {"c": 1, "d": 1}]) == {
        (0, 1): ["a", "b"],
        (0, 2): ["c"],
        (2,): ["d"],
    }


def test_as_a_function_of_work() -> None:
    values = [adapters(1.0), adapters(2.0), adapters(9.0)]
    (found,) = Aggregate(Median(), Fixed((1.0, 1.0, 1.0)))(None, *values)
    torch.testing.assert_close(found, adapters(2.0))
    (found,) = Aggregate(Mean(), lambda scores: [scores[0], 0.0, scores[1]], 1)([3.0, 1.0], adapters(7.0), *values)
    torch.testing.assert_close(found, adapters(3.0))
    (kept,) = Aggregate(Mean(), lambda: [0.0] * 3)(adapters(7.0), *values)
    torch.testing.assert_close(kept, adapters(7.0))


@pytest.mark.parametrize("rule", [Mean(), Median()], ids=repr)
def test_names_keep_their_order(rule: Mean | Median) -> None:
    """What crosses the wire next is laid out in this order."""
    one, two = {"b": torch.ones(1), "a": torch.ones(1)}, {"c": torch.ones(1), "b": torch.ones(1)}
    assert list(rule.aggregate([one, two], [1.0, 1.0])) == ["b", "a", "c"]
