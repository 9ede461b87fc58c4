"""Subchannels and powers chosen anew as gains change: when, by what, and within which budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from wireless.test_radio import Site, at, tree

from elsa_sim.base.errors import InputFaults
from elsa_sim.wireless import WirelessOptions

SELECTIVE: dict[str, Any] = {"fading": "selective", "coherence": 0.1, "subchannels": 8, "allocator": "greedy",
                             "nodes": at(client0=(0.0, 0.0), client1=(0.0, 250.0), edge0=(0.0, 100.0))}  # fmt: skip


def owners_over_time(site: Site, times: np.ndarray) -> list[tuple[str | None, ...]]:
    """Who has which subchannel at each time, while both clients send."""
    for client in ("client0", "client1"):
        site.send(0.0, client, "edge0", 1e9)
    seen = []
    for time in times:
        site.env.run(float(time))
        site.radio.rate("client0", "edge0")
        assert site.radio.check() == []
        seen.append(tuple(site.radio.subcarriers_of["edge0", "up"].owners))
    return seen


MIDDLES = np.arange(10) * 0.1 + 0.05


def test_every_block_is_allocated_anew_or_every_round() -> None:
    blocks = owners_over_time(Site(tree(2, 1), **SELECTIVE), MIDDLES)
    assert len(set(blocks)) >= 5
    rounds = Site(tree(2, 1), reallocate="round", **SELECTIVE)
    assert len(set(owners_over_time(rounds, MIDDLES))) == 1
    rounds.radio.reallocate()
    rounds.radio.rate("client0", "edge0")
    assert tuple(rounds.radio.subcarriers_of["edge0", "up"].owners) != blocks[0]
    blocks_only = Site(tree(2, 1), **SELECTIVE)
    before = owners_over_time(blocks_only, MIDDLES[:3])
    blocks_only.radio.reallocate()
    blocks_only.radio.rate("client0", "edge0")
    assert tuple(blocks_only.radio.subcarriers_of["edge0", "up"].owners) == before[-1] == blocks[2]


def test_choosing_takes_its_time() -> None:
    """With 30 ms to choose, each block begins with the choice of the one before, and changes to its own after 30 ms."""
    at_once = owners_over_time(Site(tree(2, 1), **SELECTIVE), MIDDLES)
    times = np.sort(np.concatenate([MIDDLES - 0.04, MIDDLES]))
    late = owners_over_time(Site(tree(2, 1), reallocation_time=0.03, **SELECTIVE), times)
    assert late[1::2] == at_once
    assert late[2::2] == at_once[:-1]
    slow = Site(tree(2, 1), reallocate="round", reallocation_time=0.5, **SELECTIVE)
    first = owners_over_time(slow, np.array([0.95]))[0]
    slow.radio.reallocate()
    seen = []
    for time in (1.4, 1.44, 1.46, 1.9):
        slow.env.run(time)
        slow.radio.rate("client0", "edge0")
        seen.append(tuple(slow.radio.subcarriers_of["edge0", "up"].owners))
    assert seen[0] == seen[1] == first
    assert seen[2] == seen[3] != first
    assert seen[2] == at_once[9]  # by the gains of 0.95 s, when choosing began, not of 1.45 s


def test_the_slowest_client_is_done_sooner_with_power_control() -> None:
    """Both have as much to send; what the convex step gives the far client, under the same budgets, ends the sending."""
    ends = {}
    for control in ("even", "min_delay"):
        for total in (None, 0.25):
            site = Site(tree(2, 1), power_control=control, total_power=total, **SELECTIVE | {"coherence": 10.0})
            site.radio.set_needs(dict.fromkeys(("client0", "client1"), 8e6), {"client1": 0.0})
            for client in ("client0", "client1"):
                site.send(0.0, client, "edge0", 1e6)
            site.run()
            ends[control, total] = max(done.t_end_s for done in site.done)
    assert ends["min_delay", None] < ends["even", None]
    assert ends["min_delay", 0.25] < ends["even", 0.25]
    assert ends["min_delay", None] <= ends["min_delay", 0.25]


def test_the_total_power_is_a_budget() -> None:
    site = Site(tree(2, 1), total_power=0.1, power_control="min_delay", **SELECTIVE)
    site.radio.rate("client0", "edge0")
    subcarriers = site.radio.subcarriers_of["edge0", "up"]
    assert subcarriers.powers(site.radio.limits).sum() <= 0.1
    assert subcarriers.powers(site.radio.limits).sum() > 0.05
    subcarriers._controlled = np.full(8, 0.1)
    assert any("of 0.1 W together" in wrong for wrong in site.radio.check())


def test_searched_subchannels_are_no_worse_than_greedy_ones() -> None:
    """With powers of least delay, moves and swaps after the greedy step end the sending sooner, or as soon."""
    ends: dict[str, list[float]] = {"greedy": [], "min_delay": []}
    for allocator, found in ends.items():
        for seed in range(8):
            given = SELECTIVE | {"allocator": allocator, "coherence": 10.0, "subchannels": 6}
            site = Site(tree(3, 1), seed=seed, power_control="min_delay", total_power=0.3, **given)
            site.radio.set_needs(dict.fromkeys(("client0", "client1", "client2"), 8e6), {"client1": 0.05})
            for client in ("client0", "client1", "client2"):
                site.send(0.05 if client == "client1" else 0.0, client, "edge0", 1e6)
            found.append(max(done.t_end_s for done in site.run().done))
    assert all(m <= g * (1 + 1e-6) for m, g in zip(ends["min_delay"], ends["greedy"], strict=True))
    assert sum(ends["min_delay"]) < 0.97 * sum(ends["greedy"])


def test_no_power_is_left_unused() -> None:
    site = Site(tree(2, 1), power_control="min_delay", **SELECTIVE)
    site.radio.set_needs({"client0": 1e3, "client1": 1e6})
    site.radio.rate("client0", "edge0")
    subcarriers = site.radio.subcarriers_of["edge0", "up"]
    powers = subcarriers.powers(site.radio.limits)
    for client in ("client0", "client1"):
        assert powers[subcarriers.of(client)].sum() == pytest.approx(0.2, rel=1e-9)


def test_a_client_that_waits_gets_less() -> None:
    """Who begins to send later needs a higher rate to be in time."""
    shares = {}
    for wait in (0.0, 2.0):
        site = Site(tree(2, 1), **SELECTIVE | {"fading": "none"})
        site.radio.set_needs(dict.fromkeys(("client0", "client1"), 2e7), {"client0": wait, "client1": 0.0})
        site.radio.rate("client0", "edge0")
        shares[wait] = len(site.radio.subcarriers_of["edge0", "up"].of("client0"))
    assert shares[2.0] > shares[0.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reallocation_time": 0.1, "coherence": 0.1}, "no less than a block"),
        ({"assigned": {"edge9": {}}}, "there is no station 'edge9'"),
        ({"assigned": {"edge0": {"client0": {"subchannels": [0, 25]}}}}, "subchannels 0 to 19"),
        ({"assigned": {"edge0": {"client0": {"subchannels": [0], "powers": [1.0]}}}}, "sum to 1 W"),
        ({"assigned": {"edge0": {"client0": {"subchannels": [0]}, "client1": {"subchannels": [0]}}}}, "is given to"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputFaults, match=said):
        Site(tree(2, 1), **options)


def test_assigned_subchannels_stay() -> None:
    given = {"edge0": {"client0": {"subchannels": [3, 1], "powers": [0.02, 0.01]}, "client1": {"subchannels": [0]}}}
    site = Site(tree(2, 1), **SELECTIVE, assigned=given)
    every = set(owners_over_time(site, MIDDLES))
    assert every == {("client1", "client0", None, "client0", None, None, None, None)}
    powers = site.radio.subcarriers_of["edge0", "up"].powers(site.radio.limits)
    np.testing.assert_allclose(powers, [0.2, 0.01, 0, 0.02, 0, 0, 0, 0])
    assert WirelessOptions.model_validate({"assigned": given}).assigned["edge0"]["client1"].powers is None
