"""Rates and decibels against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from elsa_sim.wireless import (
    from_db,
    rate,
    snr,
    to_db,
)


def test_shannon() -> None:
    """1 MHz at SNR 1, 3 and 15: 1, 2 and 4 Mbit/s; nothing sent, nothing carried; a cap caps."""
    power = np.array([1.0, 3.0, 15.0, 0.0]) * 1e6 * 4e-21 / 1e-10
    assert snr(1e-10, 1e6, power, 4e-21).tolist() == pytest.approx([1, 3, 15, 0])
    assert rate(1e-10, 1e6, power, 4e-21).tolist() == pytest.approx([1e6, 2e6, 4e6, 0.0], rel=1e-12)
    assert rate(1e-10, 1e6, power, 4e-21, 2.5).tolist() == pytest.approx([1e6, 2e6, 2.5e6, 0.0], rel=1e-12)


def test_low_snr_is_linear() -> None:
    """log2(1 + x) is x / ln 2 for small x, where 1 + x is 1 in floats."""
    assert float(rate(1e-20, 1.0, 1.0, 1.0)) == pytest.approx(1e-20 / math.log(2.0), rel=1e-12)


def test_twice_the_bandwidth_less_than_twice_the_rate() -> None:
    """The noise grows with the bandwidth; the limit of wide bands is P g / (N0 ln 2)."""
    rates = rate(1e-12, np.array([1e6, 2e6, 1e12]), 0.2, 4e-21)
    assert rates[0] < rates[1] < 2.0 * rates[0]
    assert rates[2] == pytest.approx(0.2 * 1e-12 / (4e-21 * math.log(2.0)), rel=1e-3)


def test_decibels() -> None:
    assert from_db([0.0, 3.0, -20.0]).tolist() == pytest.approx([1.0, 1.9952623149688795, 0.01])
    assert to_db([1.0, 100.0, 0.0]).tolist() == [0.0, 20.0, -math.inf]
