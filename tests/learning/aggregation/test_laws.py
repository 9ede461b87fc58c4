"""Laws of every aggregation rule: whatever is registered is tested, with its defaults and the samples below."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from elsa_sim.learning.aggregation.base import Adapters, Aggregation
from elsa_sim.learning.aggregation.rules.krum import Krum
from elsa_sim.learning.aggregation.rules.mean import Mean
from elsa_sim.learning.aggregation.rules.median import Median
from elsa_sim.learning.aggregation.rules.norm_clipping import NormClipping
from elsa_sim.learning.aggregation.rules.outlier import Outlier
from elsa_sim.learning.aggregation.rules.trimmed_mean import TrimmedMean
from elsa_sim.learning.execution.work import TensorSpec

MEMBERS = {kind: rule for kind, rule in Aggregation.members.items() if rule.__module__.startswith("elsa_sim.")}
#: Configurations to test besides the defaults.
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "trimmed_mean": [{"trim": 2}],
    "outlier": [{"factor": 1.0}, {"factor": 5.0}],
    "norm_clipping": [{"factor": 0.5}],
    "krum": [{"byzantine": 2}, {"byzantine": 0, "keep": 3}, {"byzantine": 2, "keep": 4}],
}
RULES = [rule(**options) for kind, rule in sorted(MEMBERS.items()) for options in ({}, *SAMPLES.get(kind, ()))]  # type: ignore[arg-type]
#: Rules for which a member of weight 2 is two members of weight 1.
BY_WEIGHT = [rule for rule in RULES if rule.kind in ("mean", "median", "outlier", "norm_clipping")]
#: Rules that a minority of wild members cannot move out of the range of the others.
ROBUST = [rule for rule in RULES if rule.kind in ("median", "trimmed_mean", "outlier", "krum")]
SHAPES = {"a": (3, 4), "b": (5,), "c": ()}
every = pytest.mark.parametrize("rule", RULES, ids=repr)


def test_all_rules_are_here() -> None:
    assert {"mean", "median", "trimmed_mean", "outlier", "norm_clipping", "krum"} <= set(MEMBERS)


def contributions(count: int, seed: int = 0, scale: float = 1.0) -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return [{name: scale * torch.randn(shape, generator=draw) for name, shape in SHAPES.items()} for _ in range(count)]


def flat(adapters: Adapters) -> Tensor:
    return torch.cat([adapters[name].double().flatten() for name in sorted(adapters)])


BASE = contributions(1, seed=99)[0]


def same(found: Adapters, expected: Adapters) -> None:
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].shape == expected[name].shape
        assert found[name].dtype == expected[name].dtype
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


weights_of_some = st.lists(st.integers(1, 20).map(float), min_size=1, max_size=8)


@every
@settings(deadline=None, max_examples=25)
@given(weights_of_some, st.sampled_from([1e-6, 0.37, 3.0, 1e9]))
def test_only_the_ratio_of_weights_counts(rule: Aggregation, weights: list[float], scale: float) -> None:
    values = contributions(len(weights))
    same(rule.aggregate(values, [w * scale for w in weights], BASE), rule.aggregate(values, weights, BASE))


@every
@settings(deadline=None, max_examples=25)
@given(weights_of_some, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_members_does_not_matter(rule: Aggregation, weights: list[float], random: Any, ties: bool) -> None:
    values = contributions(len(weights))
    if ties:
        values = [{name: t.round() for name, t in value.items()} for value in values]
    order = list(range(len(weights)))
    random.shuffle(order)
    again = rule.aggregate([values[i] for i in order], [weights[i] for i in order], BASE)
    same(again, rule.aggregate(values, weights, BASE))


@every
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_contributions_give_themselves(rule: Aggregation, count: int) -> None:
    value = contributions(1)[0]
    weights = [1.0 + i for i in range(count)]
    if rule.kind == "norm_clipping" and rule.factor < 1:  # type: ignore[attr-defined]
        expected = {name: BASE[name] + 0.5 * (value[name] - BASE[name]) for name in value}
        same(rule.aggregate([value] * count, weights, BASE), expected)
    else:
        same(rule.aggregate([value] * count, weights, BASE), value)
    same(rule.aggregate([BASE] * count, weights, BASE), BASE)


@every
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e12])
def test_finite_and_nothing_is_changed(rule: Aggregation, count: int, scale: float) -> None:
    values = contributions(count, scale=scale)
    copies = [{name: t.clone() for name, t in value.items()} for value in values]
    found = rule.aggregate(values, [1.0] * count, BASE)
    assert all(bool(t.isfinite().all()) and t.dtype == torch.float32 for t in found.values())
    for value, copy in zip(values, copies, strict=True):
        assert all(torch.equal(value[name], copy[name]) for name in copy)
    assert all(torch.equal(t, contributions(1, seed=99)[0][name]) for name, t in BASE.items())


@every
def test_what_weighs_nothing_is_not_looked_at(rule: Aggregation) -> None:
    values = contributions(6)
    broken = {name: torch.full(shape, torch.nan) for name, shape in SHAPES.items()}
    alone = {**broken, "extra": torch.ones(2)}
    base = {**BASE, "extra": torch.full((2,), 7.0)}
    found = rule.aggregate([values[0], alone, *values[1:]], [1.0, 0.0, *[1.0] * 5], base)
    assert torch.equal(found.pop("extra"), base["extra"])  # nobody who counts has it: it stays as it is
    same(found, rule.aggregate(values, [1.0] * 6, BASE))
    same(rule.aggregate([broken, broken], [0.0, 0.0], BASE), BASE)


@every
def test_each_layer_is_aggregated_over_those_who_have_it(rule: Aggregation) -> None:
    """Cuts differ: who has which layer; every block is what the rule makes of its holders alone."""
    values = contributions(9)
    some = [value if i < 6 else {"a": value["a"]} for i, value in enumerate(values)]
    some.append({"c": values[0]["c"]})
    weights = [float(1 + i % 3) for i in range(10)]
    found = rule.aggregate(some, weights, BASE)
    for name, holders in (("a", range(9)), ("b", range(6)), ("c", [*range(6), 9])):
        own = [{name: some[i][name]} for i in holders]
        same({name: found[name]}, rule.aggregate(own, [weights[i] for i in holders], {name: BASE[name]}))


@every
def test_flops(rule: Aggregation) -> None:
    spec = {name: TensorSpec(shape) for name, shape in SHAPES.items()}
    size = sum(item.numel for item in spec.values())
    for count in (1, 2, 3, 8):
        flops = rule.work_flops([spec] * count)
        assert math.isfinite(flops)
        assert flops >= count * size  # everything is looked at
        assert flops == rule.flops(count, size)
    apart = rule.work_flops([spec, spec, {"a": spec["a"]}])
    assert apart == rule.flops(3, 12) + rule.flops(2, 6)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean(), 2 * 8 * 100),
        (Median(), 8 * 100 * (3 + 2)),
        (TrimmedMean(), 8 * 100 * (3 + 2)),
        (Outlier(), 8 * 100 * (3 + 2) + 5 * 8 * 100),
        (NormClipping(), 6 * 8 * 100),
        (Krum(), 3 * 100 * 28 + 2 * 100),
        (Krum(keep=3), 3 * 100 * 28 + 2 * 3 * 100),
    ],
    ids=repr,
)
def test_flops_by_hand(rule: Aggregation, expected: float) -> None:
    """Eight members, 100 numbers."""
    assert rule.flops(8, 100) == expected
    assert Median().flops(9, 1) == 9 * (4 + 2)  # a sort of nine takes as many rounds as one of sixteen


@pytest.mark.parametrize(("count", "weights"), [(0, []), (2, [1.0]), (2, [1.0, -1.0])])
@every
def test_what_has_no_aggregate_is_refused(rule: Aggregation, count: int, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one contribution and one non-negative weight for each"):
        rule.aggregate(contributions(count), weights, BASE)


def test_a_base_is_asked_for_where_it_is_needed() -> None:
    with pytest.raises(ValueError, match="nobody with a weight has a"):
        Mean().aggregate([{"a": torch.ones(1)}], [0.0])
    with pytest.raises(ValueError, match="no base"):
        NormClipping().aggregate([{"a": torch.ones(1)}], [1.0])


# -- robustness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ROBUST, ids=repr)
@pytest.mark.parametrize("wild", [1e3, -1e12, "opposite", float("nan"), float("inf")])
@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_a_wild_minority_does_not_move_it_out_of_the_range_of_the_others(
    rule: Aggregation, wild: float | str, seed: int
) -> None:
    wilds = 2 if rule.kind in ("median", "outlier") else getattr(rule, "trim", getattr(rule, "byzantine", 1))
    honest = contributions(7, seed)
    sent = [
        {name: -1e3 * t if wild == "opposite" else torch.full_like(t, wild) for name, t in honest[i].items()}  # type: ignore[arg-type]
        for i in range(wilds)
    ]
    found = flat(rule.aggregate([*sent, *honest], [1.0] * (7 + wilds), BASE))
    rows = torch.stack([flat(each) for each in honest])
    assert bool((found <= rows.max(0).values + 1e-5).all())
    assert bool((found >= rows.min(0).values - 1e-5).all())


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.kind == "norm_clipping"], ids=repr)
@pytest.mark.parametrize("wild", [1e9, float("nan")])
def test_a_wild_minority_moves_clipped_means_no_farther_than_the_longest_change(rule: Any, wild: float) -> None:
    honest = contributions(7)
    sent = [{name: torch.full_like(t, wild) for name, t in BASE.items()}] * 3
    found = flat(rule.aggregate([*sent, *honest], [1.0] * 10, BASE))
    longest = max(float((flat(each) - flat(BASE)).norm()) for each in honest)
    assert float((found - flat(BASE)).norm()) <= rule.factor * longest


def test_nothing_finite_stays_what_it_is() -> None:
    broken = [{name: torch.full_like(t, torch.nan) for name, t in BASE.items()}] * 3
    same(NormClipping().aggregate(broken, [1.0] * 3, BASE), BASE)
    assert not bool(flat(Outlier().aggregate(broken, [1.0] * 3, BASE)).isfinite().any())


def test_the_mean_is_moved_by_one() -> None:
    """What the laws above are for."""
    honest, wild = contributions(7), {name: torch.full_like(t, 1e6) for name, t in BASE.items()}
    assert float(flat(Mean().aggregate([wild, *honest], [1.0] * 8, BASE)).min()) > 1e4


@pytest.mark.parametrize("rule", BY_WEIGHT, ids=repr)
@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_member_of_weight_two_is_two_members(rule: Aggregation, weights: list[int]) -> None:
    values = contributions(len(weights))
    copies = [value for value, weight in zip(values, weights, strict=True) for _ in range(weight)]
    same(rule.aggregate(values, weights, BASE), rule.aggregate(copies, [1.0] * len(copies), BASE))


@every
def test_a_linear_rule_is_the_weighted_sum_of_any_groups(rule: Aggregation) -> None:
    """Only then may a server merge groups of changes one after another."""
    values, weights = contributions(6), [1.0, 2.0, 3.0, 1.0, 1.0, 2.0]
    values[0] = {name: 100.0 * t for name, t in values[0].items()}
    none = {name: torch.zeros_like(t) for name, t in BASE.items()}
    whole = flat(rule.aggregate(values, weights, none)) * sum(weights)
    parts = sum(
        flat(rule.aggregate(values[i : i + 3], weights[i : i + 3], none)) * sum(weights[i : i + 3]) for i in (0, 3)
    )
    assert rule.linear == torch.allclose(whole, torch.as_tensor(parts), atol=1e-3)


# -- oracles ------------------------------------------------------------------------------------------------------------


def scalars(values: Sequence[float]) -> list[dict[str, Tensor]]:
    return [{"x": torch.tensor([value], dtype=torch.float64)} for value in values]


numbers = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=7)


def oracle_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The middle of the interval of points that have at most half of the weight strictly on either side."""
    half = sum(weights) / 2
    fine = [v for v in values if sum(w for x, w in zip(values, weights, strict=True) if x < v) <= half
            and sum(w for x, w in zip(values, weights, strict=True) if x > v) <= half]  # fmt: skip
    return (min(fine) + max(fine)) / 2


@settings(deadline=None)
@given(st.data(), numbers)
def test_median_against_the_definition(data: st.DataObject, values: list[float]) -> None:
    weights = data.draw(st.lists(st.integers(1, 3).map(float), min_size=len(values), max_size=len(values)))
    found = float(Median().aggregate(scalars(values), weights)["x"])
    assert found == oracle_median(values, weights)
    equal = float(Median().aggregate(scalars(values), [0.1] * len(values))["x"])
    assert equal == float(np.median(values))


@settings(deadline=None)
@given(st.data(), numbers, st.integers(1, 3))
def test_trimmed_mean_against_the_definition(data: st.DataObject, values: list[float], trim: int) -> None:
    weights = data.draw(st.lists(st.integers(1, 3).map(float), min_size=len(values), max_size=len(values)))
    cut = min(trim, (len(values) - 1) // 2)
    left = sorted(zip(values, weights, strict=True))[cut : len(values) - cut]
    expected = sum(v * w for v, w in left) / sum(w for _, w in left)
    found = float(TrimmedMean(trim=trim).aggregate(scalars(values), weights)["x"])
    assert found == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(st.data(), st.integers(1, 7), st.integers(0, 2), st.integers(1, 3))
def test_krum_against_the_definition(data: st.DataObject, count: int, byzantine: int, keep: int) -> None:
    rows = [data.draw(st.tuples(*[st.integers(-4, 4)] * 2)) for _ in range(count)]
    weights = data.draw(st.lists(st.integers(1, 3).map(float), min_size=count, max_size=count))
    scores = []
    for i, row in enumerate(rows):
        apart = sorted(math.dist(row, other) ** 2 for j, other in enumerate(rows) if j != i)
        scores.append(round(sum(apart[: max(1, count - byzantine - 2)])))
    best = [i for i in range(count) if scores[i] <= sorted(scores)[min(keep, count) - 1]]
    mass = sum(weights[i] for i in best)
    expected = [sum(rows[i][d] * weights[i] for i in best) / mass for d in range(2)]
    values = [{"x": torch.tensor([x], dtype=torch.float64), "y": torch.tensor(y, dtype=torch.float64)} for x, y in rows]
    found = Krum(byzantine=byzantine, keep=keep).aggregate(values, weights)
    assert [float(found["x"]), float(found["y"])] == pytest.approx(expected)


@settings(deadline=None)
@given(st.data(), numbers, st.sampled_from([1.0, 1.5, 2.0]))
def test_outlier_rule_against_the_definition(data: st.DataObject, values: list[float], factor: float) -> None:
    weights = data.draw(st.lists(st.integers(1, 3).map(float), min_size=len(values), max_size=len(values)))
    apart = [abs(value - oracle_median(values, weights)) for value in values]
    limit = factor * oracle_median(apart, weights)
    near = [i for i, each in enumerate(apart) if each <= limit]
    expected = sum(values[i] * weights[i] for i in near) / sum(weights[i] for i in near)
    found = float(Outlier(factor=factor).aggregate(scalars(values), weights)["x"])
    assert found == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.data(), numbers, st.sampled_from([0.5, 1.0, 2.0]))
def test_norm_clipping_against_the_definition(data: st.DataObject, values: list[float], factor: float) -> None:
    weights = data.draw(st.lists(st.integers(1, 3).map(float), min_size=len(values), max_size=len(values)))
    changes = [value - 1.0 for value in values]
    limit = factor * oracle_median([abs(change) for change in changes], weights)
    clipped = [max(-limit, min(limit, change)) for change in changes]
    expected = 1.0 + sum(c * w for c, w in zip(clipped, weights, strict=True)) / sum(weights)
    found = NormClipping(factor=factor).aggregate(scalars(values), weights, scalars([1.0])[0])["x"]
    assert float(found) == pytest.approx(expected, abs=1e-9)


def test_krum_keeps_out_those_who_are_near_each_other_but_far_from_most() -> None:
    """Five around 0, two colluding at 100: by hand the least sum to the m - f - 2 = 3 nearest is that of the middle one."""
    values = [-2.0, -1.0, 0.0, 1.0, 2.0, 100.0, 100.0]
    assert float(Krum(byzantine=2).aggregate(scalars(values), [1.0] * 7)["x"]) == 0.0
    for order in itertools.permutations(values[:3]):
        assert float(Krum(byzantine=0, keep=3).aggregate(scalars(order), [1.0] * 3)["x"]) == -1.0


@pytest.mark.parametrize(
    ("rule", "least"),
    [(Mean(), 1), (Median(), 3), (TrimmedMean(trim=3), 7), (Outlier(), 3), (NormClipping(), 2), (Krum(), 5),
     (Krum(byzantine=2), 7), (Krum(byzantine=1, keep=9), 10)],
    ids=repr,
)  # fmt: skip
def test_members_that_a_rule_needs(rule: Aggregation, least: int) -> None:
    assert rule.least == least


def test_options_and_their_bounds() -> None:
    defaults = {
        rule.kind: rule.model_dump(exclude={"kind"}) for rule in RULES[::-1]
    }  # the defaults come first in RULES
    assert defaults == {
        "mean": {},
        "median": {},
        "trimmed_mean": {"trim": 1},
        "outlier": {"factor": 2.0},
        "norm_clipping": {"factor": 1.0},
        "krum": {"byzantine": 1, "keep": 1},
    }
    least: list[tuple[type[Any], str, float]] = [(TrimmedMean, "trim", 1), (Outlier, "factor", 1.0), (Krum, "byzantine", 0),
                                                 (Krum, "keep", 1)]  # fmt: skip
    for rule, option, value in least:
        assert getattr(rule(**{option: value}), option) == value
        with pytest.raises(ValidationError):
            rule(**{option: value - 1})
    with pytest.raises(ValidationError):
        NormClipping(factor=0.0)
