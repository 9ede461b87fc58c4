"""The collector's thresholds are put back, whatever happens meanwhile."""

from __future__ import annotations

import gc

import pytest

from elsa_sim.base.collecting import SELDOM, seldom_collecting


def test_thresholds_are_put_back() -> None:
    before = gc.get_threshold()
    with seldom_collecting():
        assert gc.get_threshold() == SELDOM != before
    assert gc.get_threshold() == before
    with pytest.raises(KeyError), seldom_collecting():
        raise KeyError
    assert gc.get_threshold() == before
