"""Clients: their weight, and which parts of a cut model are theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_runs import world_of

from elsa_sim.learning.splits.pattern import StepPattern, head_at, u_shaped
from elsa_sim.world.client import Client, SplitClient

HELD: Any = (0, "client0", "edge0", np.arange(7), None)


def cut(pattern: StepPattern, p: int, q: int) -> SplitClient:
    """A client of a model of 6 layers."""
    return SplitClient(*HELD, pattern=pattern, parts=pattern.divide(6, p, q))


def test_it_counts_with_its_samples() -> None:
    assert Client(*HELD).weight == 7.0


def test_with_the_head_at_home_it_holds_both_ends() -> None:
    client = cut(u_shaped("edge"), 2, 1)
    assert [(part.start, part.stop, part.last) for part in client.own] == [(0, 2, False), (5, 6, True)]
    assert (client.served.start, client.served.stop) == client.cuts == (2, 5)


def test_with_the_head_at_the_server_it_holds_the_bottom() -> None:
    client = cut(head_at("cloud"), 2, 0)
    assert [(part.start, part.stop) for part in client.own] == [(0, 2)]
    assert client.served.last
    assert client.cuts == (2, 6)


def test_only_clients_of_a_cut_model_have_parts() -> None:
    _, world = world_of("protocol={kind: elsa, rounds: 1, local_steps: 1}", "execution.mode=timing")
    assert world.split_clients == world.clients
    _, whole = world_of("protocol={kind: fedavg, rounds: 1, local_steps: 1}", "execution.mode=timing")
    with pytest.raises(TypeError, match="these clients train the whole model"):
        _ = whole.split_clients
