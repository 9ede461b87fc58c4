"""How changes are judged: how long they are, where they lead, what is remembered, by hand and on made-up clients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from elsa_sim.learning.clustering.updates import (
    JudgeDirections,
    JudgeLengths,
    Members,
    Record,
    cosine,
    judge_directions,
    judge_lengths,
    loudness,
)
from elsa_sim.learning.execution.work import Ref, TensorSpec

OWN, SERVED = ("bottom", "head"), ("middle",)


def members(count: int) -> Members:
    return Members(tuple(f"client{n}" for n in range(count)), (OWN,) * count, (SERVED,) * count)


def change(draw: torch.Generator, lean: float = 0.0) -> dict[str, torch.Tensor]:
    """A client's change, of root mean square 1 everywhere; ``lean`` of it is the same for all."""
    made = {name: torch.randn(400, generator=draw) for name in (*OWN, *SERVED)}
    return {name: lean + math.sqrt(1 - lean**2) * t for name, t in made.items()}


def quarantined(count: int, spoilt: dict[int, float], looks: int = 1) -> set[int]:
    """Who has less than 0.6 of the best score where the clients ``spoilt`` send their changes times a factor."""
    draw, standing = torch.Generator().manual_seed(0), None
    zero = dict.fromkeys((*OWN, *SERVED), torch.zeros(400))
    for _ in range(looks):
        sent = [change(draw) for _ in range(count)]
        for n, factor in spoilt.items():
            sent[n] |= {name: factor * sent[n][name] for name in OWN}
        standing, scores = JudgeLengths(members(count))(*[standing] * count, zero, *sent)
    return {n for n in range(count) if scores[f"client{n}"] < 0.6 * max(scores.values())}


@pytest.mark.parametrize("factor", [-3.0, 3.0, 30.0])
@pytest.mark.parametrize("liars", [{4}, {1, 4}, {0, 1, 4}])
def test_long_changes_are_quarantined_at_once_even_those_of_most_of_five(factor: float, liars: set[int]) -> None:
    assert quarantined(5, dict.fromkeys(liars, factor)) == liars
    assert quarantined(5, dict.fromkeys(liars, factor), looks=4) == liars


def test_honest_spread_and_silence_are_no_lie() -> None:
    assert quarantined(5, {0: 0.5, 1: 1.4, 2: 0.8, 3: 0.0}, looks=3) == set()


def test_loudness_by_hand() -> None:
    """min(r, v max(1, m)): a client far from its Part 2 but not from the others is not loud."""
    assert loudness([1.0, 1.2, 1.0], [1.0, 0.3, 1.0]) == pytest.approx([1.0, 1.2, 1.0])
    assert loudness([1.0, 6.0, 1.0], [1.0, 2.0, 1.0]) == pytest.approx([1.0, 3.0, 1.0])
    assert loudness([4.0, 4.0, 1.0], [1.0, 1.0, 1.0]) == pytest.approx([4.0, 4.0, 1.0])  # most are loud
    assert loudness([4.0, 1.0, 1.0], [None] * 3) == pytest.approx([4.0, 1.0, 1.0])  # no Part 2: against the others
    assert loudness([math.inf, 1.0], [1.0, 1.0]) == [math.inf, 1.0]
    assert loudness([0.0, 0.0, 5.0], [0.0, 0.0, 1.0]) == [1.0, 1.0, 5.0]


def test_memory_by_hand() -> None:
    once = Record().louder(4.0)
    assert once.loudness == pytest.approx(math.log(4.0))
    assert once.score == pytest.approx((1.5 / 4.0) ** 2)
    assert once.louder(1.0).score == pytest.approx((1.5 / 2.0) ** 2)
    assert Record().louder(0.01).louder(4.0).score == once.louder(1.0).score  # being quiet is no credit
    back = Record().louder(math.inf)
    assert back.score < 1e-12
    for _ in range(10):
        back = back.louder(1.0)
    assert back.score == 1.0
    assert Record().score == Record().louder(1.5).score == 1.0
    assert Record().led(-0.1).score == pytest.approx(0.5)
    assert Record().led(-0.1).led(0.1).score == pytest.approx(1.0)
    assert Record().led(-0.5).led(0.0).score == 0.0


def test_who_leads_against_other_edge_servers_loses_trust_and_few_classes_do_not() -> None:
    """Of five, one sends its change reversed; everybody's change is mostly its own, a tenth of it is common."""
    draw = torch.Generator().manual_seed(1)
    start = {name: torch.randn(400, generator=draw) for name in (*OWN, *SERVED)}
    moved = [change(draw, 0.4) for _ in range(5)]
    moved[3] |= {name: -moved[3][name] for name in OWN}
    others = [change(draw, 0.4) for _ in range(15)]
    mine, theirs = ({name: sum(c[name] for c in cs) / len(cs) for name in start} for cs in (moved, others))
    own = {name: start[name] + mine[name] for name in start}
    now = {name: start[name] + 0.25 * mine[name] + 0.75 * theirs[name] for name in start}
    adapters = [{name: start[name] + c[name] for name in start} for c in moved]
    standing, scores = JudgeDirections(members(5), 0.25)(*[None] * 5, start, own, now, *adapters)
    assert [scores[f"client{n}"] for n in range(5)] == [1.0, 1.0, 1.0, 0.0, 1.0]
    expected = cosine({name: moved[0][name] for name in OWN}, theirs)
    assert standing["client0"].cosines == pytest.approx(expected, abs=1e-5)  # what its own edge server did is taken out
    assert standing["client0"].times == 1


def test_cosines_of_nothing_and_of_what_is_not_finite() -> None:
    one, zero, broken = ({"x": torch.full((3,), v)} for v in (1.0, 0.0, math.nan))
    assert cosine(one, one) == pytest.approx(1.0)
    assert cosine(zero, one) == cosine(one, zero) == 0.0
    assert cosine(broken, one) == -1.0


def test_work_is_known_before_the_arithmetic() -> None:
    spec = {name: TensorSpec((400,)) for name in (*OWN, *SERVED)}
    theta, sent = Ref(spec), [Ref(spec)] * 2
    work = judge_lengths(members(2), [None, None], theta, sent)
    assert (work.flops, work.outputs) == (5 * 2 * 1200, (None, None))
    assert judge_directions(members(2), [None, None], (theta, theta, theta), sent, 0.5).flops == 9 * 2 * 800
    assert np.isfinite(work.flops)
