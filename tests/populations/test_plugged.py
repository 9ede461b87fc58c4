"""Distributions of plugins are valid wherever distributions are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

import pytest
from small_runs import loaded

from elsa_sim.plugins import Distribution
from elsa_sim.run import checks
from elsa_sim.scenario.plugged import renew_drawables

Q = TypeVar("Q")


@pytest.fixture
def constant() -> Iterator[None]:
    class Constant(Distribution[Q], Generic[Q]):
        """All clients have the same."""

        kind: Literal["constant"] = "constant"
        value: Q

        def quantile(self, u: float) -> Q:
            return self.value

    yield
    del Distribution.members["constant"]
    from elsa_sim.devices import Downtime, PowerOptions, Straggler
    from elsa_sim.populations import Mixture
    from elsa_sim.topology import LinkOptions, TopologySource

    members = [each for family in (TopologySource, Straggler, Downtime) for each in family.members.values()]
    for model in (*Mixture.__subclasses__(), PowerOptions, LinkOptions, *members):
        model.model_rebuild(force=True)


def test_a_distribution_of_a_plugin(constant: None) -> None:
    renew_drawables()
    plan = checks.check(loaded(
        "devices.client.speed={kind: constant, value: 3 GFLOP/s}", "topology.access.up={kind: constant, value: 2 Mbit/s}",
        "devices.client.power={idle: {kind: constant, value: 1 W}}",
        "topology.access.down={kind: mixture, of: [{kind: constant, value: 1e6}]}",
        "devices.client.downtimes=[{kind: on_off, on: {kind: constant, value: 1 h}}]",
    ))  # fmt: skip
    device = plan.devices["client0"]
    assert (device.speed, device.power.idle) == (3e9, 1.0)
    assert plan.topology.links[0].up == 2e6
