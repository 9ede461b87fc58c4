"""Path loss, shadowing and fading against closed forms and statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.base.streams import Streams
from elsa_sim.wireless import (
    DualSlope,
    Fading,
    LogDistance,
    PathLoss,
    Shadowing,
    ShadowSpread,
    free_space,
)

MODELS = sorted(PathLoss.members)


def test_path_loss_at_given_distances() -> None:
    """Friis at 2.4 GHz and 1 m is 40.05 dB; 3GPP's macro cell is 128.1 dB at 1 km and 90.5 dB at 100 m."""
    assert free_space(2.4e9) == pytest.approx(40.05, abs=0.005)
    assert float(LogDistance(frequency=2.4e9, exponent=2.0).decibels(100.0)) == pytest.approx(free_space(2.4e9, 100.0))
    macro = LogDistance(reference=15.3, exponent=3.76)
    assert macro.decibels([1000.0, 100.0]).tolist() == pytest.approx([128.1, 90.5])
    bent = DualSlope(reference=40.0, exponent=2.0, beyond=4.0, breakpoint=100.0)
    assert bent.decibels([10.0, 100.0, 1000.0]).tolist() == pytest.approx([60.0, 80.0, 120.0])


@pytest.mark.parametrize("kind", MODELS)
@given(far=st.lists(st.floats(0.0, 1e6), min_size=2, max_size=20))
def test_every_path_loss_grows_with_distance(kind: str, far: list[float]) -> None:
    """The law of the family: finite, no less for a longer distance or without sight, and a vector gives what its elements
    give. Line of sight has a probability, and shadowing a spread."""
    model = PathLoss.members[kind]()
    assert isinstance(model, PathLoss)
    for los in (True, False):
        losses = model.decibels(np.sort(far), los)
        assert np.isfinite(losses).all()
        assert (np.diff(losses) >= -1e-9).all()
        assert losses.tolist() == [float(model.decibels(d, los)) for d in np.sort(far)]
        assert float(model.decibels(1e6, los)) > float(model.decibels(1.0, los)) + 60.0
        spread = model.shadowing(far, np.full(len(far), los))
        assert (np.asarray(spread.sigma) >= 0.0).all()
        assert (np.asarray(spread.distance) > 0.0).all()
    assert (model.decibels(far, False) >= model.decibels(far)).all()
    states = np.arange(len(far)) % 2 == 0
    assert (
        model.decibels(far, states).tolist()
        == np.where(states, model.decibels(far), model.decibels(far, False)).tolist()
    )
    probability = model.los_probability(far)
    assert ((probability >= 0.0) & (probability <= 1.0)).all()
    assert model.los_distance is not None or set(probability.tolist()) <= {0.0, 1.0}


def test_rayleigh_gains_have_mean_one() -> None:
    """Exponential: mean 1, variance 1, and P(gain < x) = 1 - exp(-x); independent over blocks and subchannels."""
    fading = Fading("selective", Streams(1))
    gains = np.array([fading.gains(("c", "s"), 10, block) for block in range(4000)])
    assert gains.mean() == pytest.approx(1.0, abs=0.015)
    assert gains.var() == pytest.approx(1.0, abs=0.05)
    assert (gains < 0.1).mean() == pytest.approx(1.0 - math.exp(-0.1), abs=0.005)
    assert abs(np.corrcoef(gains[:-1, 0], gains[1:, 0])[0, 1]) < 0.05
    assert abs(np.corrcoef(gains[:, 0], gains[:, 1])[0, 1]) < 0.05


def test_fading_depends_on_pair_and_block_only() -> None:
    """Common random numbers: asked in any order, with any others, a pair meets the same gains."""
    one, other = Fading("selective", Streams(1)), Fading("selective", Streams(1))
    forward = [one.gains(("c", "s"), 4, block).tolist() for block in range(200)]
    for block in reversed(range(0, 200, 7)):
        other.gains(("d", "s"), 4, block)
        assert other.gains(("c", "s"), 4, block).tolist() == forward[block]
    assert one.gains(("d", "s"), 4, 0).tolist() != forward[0]
    assert Fading("selective", Streams(2)).gains(("c", "s"), 4, 0).tolist() != forward[0]


def test_kinds_of_fading() -> None:
    assert Fading("none", Streams(0)).gains(("c", "s"), 3, 5).tolist() == [1.0] * 3
    flat = Fading("flat", Streams(0))
    assert len({*flat.gains(("c", "s"), 3, 5).tolist()}) == 1
    assert flat.gains(("c", "s"), 3, 5).tolist() != flat.gains(("c", "s"), 3, 6).tolist()


def test_shadowing_is_normal_in_db_and_belongs_to_the_pair() -> None:
    clients = [f"c{i}" for i in range(400)]
    some = Shadowing(ShadowSpread(8.0), clients, ["s", "t"], Streams(3)).decibels
    assert some.mean() == pytest.approx(0.0, abs=1.0)
    assert some.std() == pytest.approx(8.0, rel=0.1)
    fewer = Shadowing(ShadowSpread(8.0), clients[5:9], ["t"], Streams(3)).decibels
    assert fewer[:, 0].tolist() == some[5:9, 1].tolist()


def test_shadowing_decorrelates_over_distance() -> None:
    """Correlation exp(-d / D) after a move by d, whether in one step or in ten, and no change in its spread."""
    clients = [f"c{i}" for i in range(3000)]
    for steps in (1, 10):
        shadow = Shadowing(ShadowSpread(6.0, 50.0), clients, ["s"], Streams(3))
        before = shadow.decibels[:, 0].copy()
        for _ in range(steps):
            shadow.move(np.full(len(clients), 50.0 / steps), ShadowSpread(6.0, 50.0))
        assert np.corrcoef(before, shadow.decibels[:, 0])[0, 1] == pytest.approx(math.exp(-1.0), abs=0.06)
        assert shadow.decibels.std() == pytest.approx(6.0, rel=0.06)
    fixed = Shadowing(ShadowSpread(6.0), clients, ["s"], Streams(3))
    before = fixed.decibels[:, 0].copy()
    fixed.move(np.full(len(clients), 1e3), ShadowSpread(6.0))
    assert fixed.decibels[:, 0].tolist() == before.tolist()


def test_who_stands_still_keeps_its_shadow() -> None:
    shadow = Shadowing(ShadowSpread(6.0, 50.0), ["a", "b"], ["s"], Streams(3))
    before = shadow.decibels.copy()
    shadow.move(np.array([0.0, 10.0]), ShadowSpread(6.0, 50.0))
    assert shadow.decibels[0] == before[0]
    assert shadow.decibels[1] != before[1]
