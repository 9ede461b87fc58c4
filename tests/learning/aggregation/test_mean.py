"""The weighted mean of adapters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.learning.aggregation.mean import weighted_mean

weights_of_some = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=6)


@settings(deadline=None)
@given(weights_of_some)
def test_closed_form(weights: list[float]) -> None:
    draw = torch.Generator().manual_seed(1)
    values = [{"a": torch.randn(3, 2, generator=draw), "b": torch.randn(4, generator=draw)} for _ in weights]
    mean = weighted_mean(values, weights)
    share = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    for name in ("a", "b"):
        stacked = torch.stack([value[name].double() for value in values])
        expected = torch.tensordot(share, stacked, dims=1).float()
        torch.testing.assert_close(mean[name], expected, rtol=1e-5, atol=1e-6)
        assert mean[name].dtype == torch.float32


def test_each_tensor_is_averaged_over_those_who_have_it() -> None:
    one, two, three = ({"shared": torch.tensor([value])} for value in (1.0, 2.0, 6.0))
    one["low"], two["low"], three["high"] = torch.tensor([10.0]), torch.tensor([40.0]), torch.tensor([5.0])
    mean = weighted_mean([one, two, three], [2.0, 1.0, 1.0])
    assert {name: float(tensor) for name, tensor in mean.items()} == {"shared": 2.5, "low": 20.0, "high": 5.0}


def test_one_contribution_and_equal_contributions_are_themselves() -> None:
    value = {"a": torch.randn(3, generator=torch.Generator().manual_seed(0))}
    torch.testing.assert_close(weighted_mean([value], [0.3])["a"], value["a"])
    torch.testing.assert_close(weighted_mean([value] * 3, [1.0, 2.0, 5.0])["a"], value["a"])
    assert torch.equal(weighted_mean([value, {"a": torch.full((3,), 9.0)}], [1.0, 0.0])["a"], value["a"])


def test_contributions_are_not_changed() -> None:
    values = [{"a": torch.ones(2)}, {"a": torch.zeros(2)}]
    mean = weighted_mean(values, [1.0, 1.0])
    assert torch.equal(values[0]["a"], torch.ones(2))
    assert torch.equal(values[1]["a"], torch.zeros(2))
    assert all(tensor._version == 0 for value in values for tensor in value.values())
    assert mean["a"].data_ptr() not in {value["a"].data_ptr() for value in values}
    assert weighted_mean([values[0]], [1.0])["a"].data_ptr() != values[0]["a"].data_ptr()


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (0, [], "at least one"),
        (2, [1.0], "one non-negative weight for each"),
        (2, [1.0, -1.0], "non-negative"),
        (2, [0.0, 0.0], "weights of a add up to zero"),
    ],
)
def test_what_has_no_mean_is_refused(count: int, weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_mean([{"a": torch.ones(1)}] * count, weights)


def test_a_tensor_that_only_weightless_contributions_have_is_refused() -> None:
    with pytest.raises(ValueError, match="weights of b add up to zero"):
        weighted_mean([{"a": torch.ones(1)}, {"b": torch.ones(1)}], [1.0, 0.0])
