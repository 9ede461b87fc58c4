"""Distributions by a formula: their quantiles against closed forms, and what is refused, where."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from drawables import Device
from pydantic import ValidationError

from elsa_sim.base.streams import Streams
from elsa_sim.populations import Lognormal, Uniform, place
from elsa_sim.populations.drawing import Drawer

SHARES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
NORMAL = np.array([-1.6448536, -0.6744898, 0.0, 0.6744898, 1.6448536])


def draws(given: dict[str, Any], count: int = 10_000, seed: int = 3, key: str = "speed") -> np.ndarray:
    options, drawer = Device.model_validate({key: given}), Drawer(Streams(seed))
    found = [getattr(drawer.of(options, f"client{i}", "devices", "client"), key) for i in range(count)]
    assert [*drawer.faults()] == []
    return np.array(found)


def standard_error(density: np.ndarray, count: int = 10_000) -> np.ndarray:
    """Of an empirical quantile, given the density there."""
    return np.sqrt(SHARES * (1.0 - SHARES) / count) / density


def test_quantiles_of_a_lognormal() -> None:
    found = draws({"kind": "lognormal", "median": "20 GFLOP/s", "sigma": 0.8})
    logs = np.log(np.quantile(found, SHARES) / 20e9)
    density = np.exp(-0.5 * NORMAL**2) / math.sqrt(2.0 * math.pi) / 0.8
    assert (np.abs(logs - 0.8 * NORMAL) < 4.0 * standard_error(density)).all()


def test_a_lognormal_by_mean_and_coefficient_of_variation() -> None:
    found = draws({"kind": "lognormal", "mean": 10.0, "cv": 0.5}, key="factor")
    assert found.mean() == pytest.approx(10.0, rel=4 * 0.5 / 100)
    assert found.std() / found.mean() == pytest.approx(0.5, rel=0.06)
    one = Lognormal[float].model_validate({"kind": "lognormal", "mean": 10.0, "cv": 0.5})
    sigma = math.sqrt(math.log(1.25))
    assert one.quantile(0.5) == pytest.approx(10.0 * math.exp(-(sigma**2) / 2))


def test_quantiles_of_a_uniform() -> None:
    found = draws({"kind": "uniform", "low": "10 Mbit/s", "high": "30 Mbit/s"}, key="up")
    error = 4.0 * standard_error(np.full(5, 1 / 20e6))
    assert (np.abs(np.quantile(found, SHARES) - (10e6 + 20e6 * SHARES)) < error).all()


def test_bounds_move_what_is_beyond_and_nothing_else() -> None:
    given = {"kind": "lognormal", "median": "20 GFLOP/s", "sigma": 1.0}
    free, bound = draws(given, 500), draws(given | {"at_least": "10 GFLOP/s", "at_most": 40e9}, 500)
    assert (bound == free.clip(10e9, 40e9)).all()
    assert (bound != free).any()


def test_shares_of_a_choice_and_of_text() -> None:
    found = draws({"kind": "choice", "of": ["x", "y", "z"], "weights": [1, 0, 3]}, key="name")
    assert set(found) == {"x", "z"}
    assert (found == "z").mean() == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 10_000))
    even = draws({"kind": "choice", "of": ["1 GFLOP/s", 2e9]})
    assert (even == 1e9).mean() == pytest.approx(0.5, abs=0.02)


def test_a_mixture_has_the_distribution_function_of_its_parts() -> None:
    parts = [
        {"kind": "uniform", "low": 1e9, "high": 2e9},
        {"kind": "lognormal", "median": 5e9, "sigma": 0.1},
        "9 GFLOP/s",
    ]
    found = draws({"kind": "mixture", "of": parts, "weights": [0.5, 0.3, 0.2]})
    assert (found <= 1.5e9).mean() == pytest.approx(0.25, abs=0.02)
    assert (found <= 2e9).mean() == pytest.approx(0.5, abs=0.02)
    assert ((found > 2e9) & (found <= 5e9)).mean() == pytest.approx(0.15, abs=0.015)
    assert (found == 9e9).mean() == pytest.approx(0.2, abs=0.016)


@pytest.mark.parametrize(("key", "given", "where", "message"), [
    ("speed", {"kind": "lognormal", "median": "20 W", "sigma": 1}, "speed.median", "not a unit of speed"),
    ("speed", {"kind": "lognormal", "median": -2.0, "sigma": 1.0}, "speed.median", "at least 0"),
    ("speed", {"kind": "lognormal", "median": 0.0, "sigma": 1.0}, "speed", "must be > 0"),
    ("speed", {"kind": "lognormal", "median": 1.0, "mean": 2.0, "sigma": 1.0}, "speed", "either median or mean"),
    ("speed", {"kind": "lognormal", "median": 1.0}, "speed", "either sigma or cv"),
    ("speed", {"kind": "lognormal", "median": 1.0, "sigma": -1.0}, "speed.sigma", "greater than or equal"),
    ("speed", {"kind": "lognormal", "median": float("nan"), "sigma": 1.0}, "speed.median", "finite"),
    ("factor", {"kind": "lognormal", "median": -1.0, "sigma": 1.0}, "factor", "must be > 0"),
    ("speed", {"kind": "lognormal", "median": 1.0, "sigma": 1.0, "at_least": 3.0, "at_most": 2.0}, "speed", "above at_most"),
    ("speed", {"kind": "uniform", "low": 2.0, "high": 1.0}, "speed", "above high"),
    ("speed", {"kind": "uniform", "low": 2.0}, "speed.high", "required"),
    ("speed", {"kind": "choice", "of": []}, "speed.of", "at least 1"),
    ("speed", {"kind": "choice", "of": [1.0, "x"]}, "speed.of.1", "not a speed"),
    ("speed", {"kind": "choice", "of": [1.0], "weights": [1.0, 2.0]}, "speed", "2 weights"),
    ("speed", {"kind": "choice", "of": [1.0], "weights": [0.0]}, "speed", "all 0"),
    ("speed", {"kind": "choice", "of": [1.0], "weights": [-1.0]}, "speed.weights.0", "greater than or equal"),
    ("speed", {"kind": "mixture", "of": [{"kind": "uniform", "low": 1.0, "high": "x"}]}, "speed.of.0.high", "not a speed"),
    ("speed", {"kind": "mixture", "of": [{"kind": "mixture", "of": [1.0]}]}, "speed.of.0", "does not match"),
    ("speed", {"kind": "gaussian"}, "speed", "does not match"),
    ("name", {"kind": "uniform", "low": "a", "high": "b"}, "name", "does not match"),
])  # fmt: skip
def test_wrong_ones_are_faults_at_their_place(key: str, given: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Device.model_validate({key: given})
    assert where in [".".join(place(each["loc"])) for each in caught.value.errors()]


def test_those_made_in_python_take_the_unit_of_their_field() -> None:
    made = Device(speed=Lognormal(median="20 GFLOP/s", sigma=0.5), up=Uniform(low=1e6, high="2 Mbit/s"))
    assert made == Device.model_validate(
        {
            "speed": {"kind": "lognormal", "median": 20e9, "sigma": 0.5},
            "up": {"kind": "uniform", "low": 1e6, "high": 2e6},
        }
    )
    assert Device.model_validate(made.model_dump()) == made
