"""Uplink is towards the cloud; routers have no tier."""

from __future__ import annotations

from typing import get_args

from elsa_sim.base.tiers import TIER
from elsa_sim.topology.model import Role


def test_every_role_that_sends_has_a_tier() -> None:
    assert set(TIER) == {*get_args(Role)} - {"router"}
    assert TIER["client"] < TIER["edge"] < TIER["cloud"]
