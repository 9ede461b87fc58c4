"""Water-filling: levels by hand (test_convex.py has it agree with the conic solver)."""

from __future__ import annotations

import numpy as np
import pytest

from elsa_sim.wireless.water_filling import least_power, most


def test_water_levels() -> None:
    """Two subchannels with noise 1 and 3 W: 1 W fills the first only, 4 W both to 4 W; a cap pours over."""
    floor = np.log(np.array([[1.0, 3.0]]))
    assert most(floor, np.inf, np.array([1.0])) == pytest.approx(np.log(2.0))
    assert most(floor, np.inf, np.array([4.0])) == pytest.approx(np.log(4.0) + np.log(4.0 / 3.0))
    power, price = least_power(floor, np.inf, np.array([np.log(4.0) + np.log(4.0 / 3.0)]))
    assert (power[0], price[0]) == pytest.approx((4.0, 4.0))
    assert most(floor, np.log(2.0), np.array([2.5])) == pytest.approx(np.log(2.0) + np.log(1.5))
    assert most(floor, np.log(2.0), np.array([9.0])) == pytest.approx(2.0 * np.log(2.0))
    assert least_power(floor, np.log(2.0), np.array([1.4]))[0] == np.inf
