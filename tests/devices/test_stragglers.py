"""What makes devices slow: seeds, the means of theory, scripts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from elsa_sim.devices import (
    Background,
    LogNormal,
    Scripted,
    ShiftedExponential,
    Straggler,
    Throttling,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", sorted(Straggler.members))
def test_every_straggler_is_seeded_and_positive(kind: str) -> None:
    """The law of the family: positive factors that depend on the seed and the times of start only."""
    straggler = Straggler.members[kind]()
    assert isinstance(straggler, Straggler)
    times = np.cumsum(rng(1).exponential(5.0, 300)).tolist()
    one, other = straggler.start(rng()), straggler.start(rng())
    factors = [one(t) for t in times]
    assert factors == [other(t) for t in times]
    assert min(factors) > 0.0
    assert all(map(math.isfinite, factors))


def mean_factor(straggler: Straggler, step: float = 1.0) -> float:
    factor = straggler.start(rng(3))
    return float(np.mean([factor(i * step) for i in range(20_000)]))


def test_means_are_those_of_theory() -> None:
    assert mean_factor(LogNormal(sigma=0.5)) == pytest.approx(math.exp(0.125), rel=0.03)
    assert mean_factor(ShiftedExponential(mean=0.7)) == pytest.approx(1.7, rel=0.03)
    assert mean_factor(Background(factor=3.0, on=30.0, off=90.0), 3.0) == pytest.approx(1.5, rel=0.05)
    assert mean_factor(Throttling(factor=2.0, period=60.0, share=0.25)) == pytest.approx(1.25, rel=0.01)


def test_scripted_factors() -> None:
    factor = Scripted(steps=((10.0, 4.0), (20.0, 0.5))).start(rng())
    assert [factor(t) for t in (0.0, 9.9, 10.0, 19.9, 20.0, 99.0)] == [1.0, 1.0, 4.0, 4.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="must increase"):
        Scripted(steps=((2.0, 1.0), (1.0, 1.0)))
