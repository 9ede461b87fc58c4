"""The example of a population does what its comments say."""

from __future__ import annotations

import numpy as np
from examples import HERE, TIMING, run, seconds

from elsa_sim.run import checks
from elsa_sim.scenario.model import load

APART = ("topology.access.up.together=false", "topology.access.down.together=false")


def drawn(*changes: str) -> dict[str, tuple[float, float]]:
    """Client -> its speed (FLOP/s) and bandwidth up (bit/s)."""
    plan = checks.check(load(HERE / "population.yaml", (TIMING, *changes)))
    up = {link.u: link.up for link in plan.topology.links}
    return {name: (plan.devices[name].effective_speed, up[name]) for name in plan.topology.names("client")}


def correlation(found: dict[str, tuple[float, float]]) -> float:
    return float(np.corrcoef(np.log([pair for name, pair in found.items() if name != "client0"]).T)[0, 1])


def test_quick_phones_have_the_better_links_unless_links_are_drawn_by_themselves() -> None:
    many = ("topology.clients=400", "partition=iid")
    assert correlation(drawn(*many)) > 0.3
    assert abs(correlation(drawn(*many, *APART))) < 0.15
    assert seconds(run("population")) != seconds(run("population", *APART))


def test_more_clients_leave_the_first_as_they_are_and_another_seed_does_not() -> None:
    few, many = drawn(), drawn("topology.clients=40")
    assert few == {name: many[name] for name in few}
    assert few["client0"][0] == 1e9
    assert few != drawn("seed=8")
