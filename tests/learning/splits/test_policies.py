"""Split policies: cuts by hand, under memory, and the quickest by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.flops import pass_flops
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.options import BackboneOptions, locate, three_parts
from elsa_sim.learning.splits.base import ClientResources, Machine, Resources
from elsa_sim.learning.splits.fixed import FixedSplit
from elsa_sim.learning.splits.latency import Cost, LatencySplit, cost, quickest
from elsa_sim.learning.splits.pattern import U_SHAPED
from elsa_sim.learning.splits.score import ScoreSplit, ScoreWeights

LAYERS, GIB = 6, 2.0**30


def resources(
    speeds: Sequence[float],
    server: float = 20e9,
    memory: Sequence[float] | None = None,
    slots: int = 1,
    rate: float = 1e7,
) -> Resources:
    options = BackboneOptions(name="tiny-bert", config={"num_hidden_layers": LAYERS})
    source = locate(options, Context(Streams(0), Path()))
    outline = Outline.of(source, options.lora, causal_lm=False, labels=4, vocabulary=300)
    each = memory or [GIB] * len(speeds)
    clients = [
        ClientResources(f"client{i}", Machine(speed, each[i]), "edge0", rate, 2 * rate, 0.01)
        for i, speed in enumerate(speeds)
    ]
    return Resources(outline, 8, 16, clients, {"edge0": Machine(server, GIB, slots=slots)}, (8e4, 8e4))


def pairs(policy: object, there: Resources) -> list[tuple[int, int]]:
    return [(cut.p, cut.q) for cut in policy.cuts(there).values()]  # type: ignore[attr-defined]


def test_fixed_is_the_same_for_everyone() -> None:
    assert pairs(FixedSplit(p=2, q=3), resources([1e9, 9e9])) == [(2, 3), (2, 3)]


def test_score_by_hand() -> None:
    """p = 1 + round(s (4 - 1)): scores 1, (0.5 + 1 + 1) / 3 and (0.1 + 1 + 1) / 3 give 4, 3.5 and 3.1 layers."""
    there = resources([10e9, 5e9, 1e9])
    assert pairs(ScoreSplit(), there) == [(4, 1), (1 + round(2.5), 1), (1 + round(2.1), 1)]
    only = ScoreSplit(weights=ScoreWeights(memory=0, rate=0))
    assert pairs(only, there) == [(4, 1), (1 + round(1.5), 1), (1 + round(0.3), 1)]
    assert pairs(ScoreSplit(p_max=2, q=2), there)[0] == (2, 2)
    assert pairs(ScoreSplit(weights=ScoreWeights(compute=0, memory=0, rate=0)), there) == [(1, 1)] * 3


def needed(there: Resources, p: int, q: int) -> int:
    first, _, last = three_parts(LAYERS, p, q)
    return there.outline.training([first, last], there.batch, there.length).total()


@pytest.mark.parametrize("policy", [ScoreSplit(), LatencySplit()])
def test_memory_bounds_every_cut(policy: ScoreSplit | LatencySplit) -> None:
    wide = resources([50e9, 50e9], server=1e9)
    most = needed(wide, 2, 1)
    tight = resources([50e9, 50e9], server=1e9, memory=[GIB, most])
    free, bound = (policy.cuts(tight)[name] for name in ("client0", "client1"))
    assert free.p + free.q == LAYERS - 1  # the server is slow
    assert needed(tight, bound.p, bound.q) <= most < needed(tight, free.p, free.q)
    assert (bound.p, bound.q) in ((2, 1), (1, 2))
    with pytest.raises(InputFaults, match=r"not even p = 1, q = 1 fits the memory of client1"):
        policy.cuts(resources([1e9, 1e9], memory=[GIB, needed(wide, 1, 1) - 1]))


@pytest.mark.parametrize(
    ("policy", "layers"),
    [(FixedSplit(p=1, q=1), 2), (ScoreSplit(), 2), (ScoreSplit(p_max=4, q=2), 6), (LatencySplit(), 2)],
)
def test_a_model_too_shallow_to_cut(policy: FixedSplit, layers: int) -> None:
    policy.check(layers + 1, U_SHAPED)
    with pytest.raises(InputFaults, match=f"valid: p \\+ q <= {layers - 1}"):
        policy.check(layers, U_SHAPED)


def test_score_wants_its_bounds_in_order() -> None:
    with pytest.raises(InputFaults, match="less than p_min"):
        ScoreSplit(p_min=3, p_max=2).check(9, U_SHAPED)


def test_a_fast_server_takes_all_it_may_and_a_slow_one_nothing() -> None:
    assert pairs(LatencySplit(), resources([1e9], server=1e12)) == [(1, 1)]
    assert pairs(LatencySplit(p_min=2), resources([1e9], server=1e12)) == [(2, 1)]
    ((p, q),) = pairs(LatencySplit(), resources([1e12], server=1e9))
    assert p + q == LAYERS - 1


def test_the_cost_by_hand() -> None:
    there = resources([2e9], server=20e9, rate=1e6)
    found = cost(there, there.clients[0], 2, 1)
    first, middle, last = three_parts(LAYERS, 2, 1)
    flops = [pass_flops(there.outline, part, "learn", 8, 16) for part in (first, middle, last)]
    update = [14 * there.outline.trained([part]) for part in (first, middle, last)]
    assert found.client == pytest.approx((flops[0] + flops[2] + update[0] + update[2]) / 2e9)
    assert found.server == pytest.approx((flops[1] + update[1]) / 20e9)
    assert found.wire == pytest.approx(4 * 0.01 + 2 * 4e4 * 8 / 1e6 + 2 * 4e4 * 8 / 2e6)


def times(options: Sequence[dict[tuple[int, int], Cost]], chosen: Sequence[tuple[int, int]], slots: int) -> float:
    wait = sum(each[cut].server for each, cut in zip(options, chosen, strict=True)) / slots
    return max(each[cut].client + each[cut].wire for each, cut in zip(options, chosen, strict=True)) + wait


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3))
def test_it_is_exhaustive_for_one_and_never_worse_than_the_best_fixed_cut(seed: int, clients: int, slots: int) -> None:
    rng = np.random.default_rng(seed)
    cuts = [(p, q) for p in range(1, 4) for q in range(1, 4)]
    options = [{cut: Cost(*rng.random(3)) for cut in cuts} for _ in range(clients)]
    found = times(options, quickest(options, slots), slots)
    best = min(times(options, chosen, slots) for chosen in product(cuts, repeat=clients))
    assert found >= best - 1e-12
    if clients == 1:
        assert found == pytest.approx(best)
    assert found <= min(times(options, [cut] * clients, slots) for cut in cuts) + 1e-12


def test_among_equally_long_rounds_the_one_of_less_waiting() -> None:
    """Both cuts of the first client make the round 1 s long; one keeps the second client waiting for less."""
    options = [{(1, 1): Cost(0.4, 0.0, 0.6), (2, 1): Cost(0.5, 0.0, 0.5)}, {(1, 1): Cost(0.1, 0.0, 0.0)}]
    assert quickest(options, 1) == [(2, 1), (1, 1)]


def test_one_change_of_one_client_does_not_help() -> None:
    """With costs of the real model, and against all joint choices of three clients."""
    there = resources([50e9, 5e9, 1e9], server=8e9)
    options = [LatencySplit()._options(there, client) for client in there.clients]
    chosen = quickest(options, 1)
    found = times(options, chosen, 1)
    for n, each in enumerate(options):
        assert all(times(options, [*chosen[:n], cut, *chosen[n + 1 :]], 1) >= found - 1e-12 for cut in each)
    best = min(times(options, joint, 1) for joint in product(*options))
    assert found <= 1.05 * best
    assert len(set(chosen)) > 1  # heterogeneous clients are not cut alike
