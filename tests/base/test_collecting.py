"""The collector's thresholds are put back, whatever happens meanwhile, also by commands."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from elsa_sim.base.collecting import SELDOM, seldom_collecting
from elsa_sim.cli import commands

OWN = (500, 7, 9)


@pytest.fixture(autouse=True)
def _own_thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*OWN)
    yield
    gc.set_threshold(*before)


def test_thresholds_are_put_back() -> None:
    with seldom_collecting():
        assert gc.get_threshold() == SELDOM
    assert gc.get_threshold() == OWN
    with pytest.raises(KeyError), seldom_collecting():
        raise KeyError
    assert gc.get_threshold() == OWN


def test_commands_put_them_back(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["elsa-sim", "list"])
    monkeypatch.setattr(commands, "app", lambda: seen.append(gc.get_threshold()))
    seen: list[object] = []
    commands.main()
    assert (seen, gc.get_threshold()) == ([SELDOM], OWN)
