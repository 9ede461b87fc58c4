"""The closed form against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from elsa_sim.base.errors import InputError
from elsa_sim.joint import Allocation, Decision, Load, Problem, Uplink, delay

#: 1 MHz at an SNR of 3 is 2 Mbit/s; at 1, 1 Mbit/s.
UP = Uplink(
    np.array([[3e-9, 1e-9, 1e-9], [1e-9, 1e-9, 1e-9]]), 1e6, 1e-15, np.array([2.0, 2.0]), latency=np.array([0.1, 0.2])
)
LOAD = Load(
    forward=np.array([1.0, 2.0]), activation=np.array([4e6, 2e6]), server_forward=0.5, server_backward=0.7,
    gradient=np.array([0.3, 0.1]), backward=np.array([2.0, 1.0]), adapters=np.array([2e6, 1e6]), aggregate=0.05,
    broadcast=np.array([0.4, 0.6]),
)  # fmt: skip
ALLOCATION = Allocation(np.array([0, 1, -1]), np.array([1.0, 1.0, 0.0]))
DECISION = Decision(1, 4, ALLOCATION, ALLOCATION)


def problem(barrier: bool, steps: int = 3) -> Problem:
    return Problem(("a", "b"), UP, UP, {(1, 4): LOAD}, steps, {4: 10.0}, barrier)


def test_with_a_barrier() -> None:
    """up: 2.1, 2.2 s; adapters: 1.1, 1.2 s. 0.6 + 3 (4.2 + 1.2 + 2.3) + 1.2 + 0.05 = 24.95 s."""
    found = delay(problem(True), DECISION)
    assert found.up.tolist() == pytest.approx([2.1, 2.2])
    assert found.adapters.tolist() == pytest.approx([1.1, 1.2])
    assert found.round_s == pytest.approx(24.95)
    assert found.total_s == pytest.approx(249.5)
    expected = [0.6, 6.0, 6.6, 1.5, 2.1, 0.9, 6.0, 1.2, 0.05]
    assert list(found.critical.values()) == pytest.approx(expected), "client 1 on the way up, client 0 on the way back"
    assert found.maxima["up"] == pytest.approx(2.2)


def test_without_a_barrier() -> None:
    """First max(3.5, 4.8) + 1.2; twice max(2.3 + 3.1, 1.1 + 4.2) + 1.2; last max(2.3 + 1.1, 1.1 + 1.2) + 0.05: 22.65 s."""
    found = delay(problem(False), DECISION)
    assert found.round_s == pytest.approx(4.8 + 1.2 + 2 * (5.4 + 1.2) + 3.4 + 0.05)
    assert sum(found.critical.values()) == pytest.approx(found.round_s)
    assert found.round_s < delay(problem(True), DECISION).round_s


def test_one_step_is_the_same_but_for_the_waits() -> None:
    assert delay(problem(False, 1), DECISION).round_s == pytest.approx(4.8 + 1.2 + 3.4 + 0.05)
    assert delay(problem(True, 1), DECISION).round_s == pytest.approx(0.6 + 4.2 + 1.2 + 2.3 + 1.2 + 0.05)


def test_no_rate_takes_for_ever_but_nothing_to_send_takes_none() -> None:
    silent = replace(DECISION, main=Allocation(np.array([0, -1, -1]), np.array([1.0, 0.0, 0.0])))
    assert delay(problem(True), silent).total_s == np.inf
    nothing = replace(problem(True), loads={(1, 4): replace(LOAD, activation=np.array([4e6, 0.0]))})
    assert delay(nothing, silent).up.tolist() == pytest.approx([2.1, 0.2])


def test_what_is_no_problem() -> None:
    good = problem(True)
    with pytest.raises(InputError, match="fits the memory"):
        replace(good, loads={})
    with pytest.raises(InputError, match="not known at rank 4"):
        replace(good, rounds={8: 1.0})
    with pytest.raises(InputError, match="at least 1 local step"):
        replace(good, steps=0)
    with pytest.raises(InputError, match="there are 3 clients"):
        replace(good, names=("a", "b", "c"))
