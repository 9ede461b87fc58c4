"""Bounds at the door: what is out of any range is refused with the bound and why, by scenario, file and case alike."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from elsa_sim.network import NetworkOptions
from elsa_sim.topology import Link, LinkOptions, Node, faults_of
from elsa_sim.topology.limits import LEAST_CHANGE, is_dead, name_fault, profile_fault

BAD: list[tuple[dict[str, Any], str]] = [
    ({"up": 0}, "at least 1 and at most 1e.15 bit/s .*outage"),
    ({"up": 0.1}, "at least 1"),
    ({"up": "2 Pbit/s"}, "at most 1e.15 bit/s"),
    ({"down": 0.5}, "at least 1"),
    ({"latency": 1e308}, "at most 100000 s .light"),
    ({"latency": -1}, "at least 0"),
    ({"jitter": "2 d"}, "at most 100000 s"),
    ({"loss": 0.9999999999999999}, r"at most 0.99, got 0.9999999999999999 .*1 / \(1 - loss\) times"),
    ({"loss": -0.1}, "at least 0"),
    ({"cell": "a", "cell_bandwidth": 1e16}, "at most 1e.15"),
    ({"profile": [[0, 1e6], [1e-9, 2e6]], "period": 2e-9}, "period must be at least 2e-05 s for 2 bandwidths"),
    ({"profile": [[0, 1e6]], "period": 1e9}, "at most 1e.08 s"),
    ({"profile": [[1.6e9, 1e6]]}, "not from 1970"),
    ({"profile": [[0, 1e16]]}, "at most 1e.15"),
    ({"profile": [[0, 0.5]]}, "0 .an outage. or at least 1 bit/s"),
    ({"profile": [[0, 0]]}, "never carries anything"),
    ({"profile_down": [[0, 0], [1, 0]]}, "never carries anything"),
    ({"profile_down": [[1, 5], [1, 6]]}, "profile_down: the times of a profile must increase"),
    ({"period_down": 5}, "profile_down: a period needs a profile"),
    ({"duplex": "half", "profile": [[0, 5]], "profile_down": [[0, 5]]}, "share one channel"),
]
NETWORK: list[tuple[dict[str, Any], str]] = [
    ({"transport": {"kind": "tcp", "framing": 9e18}}, "at most 65535 B .the longest IP packet"),
    ({"transport": {"kind": "tcp", "segment": 0}}, "at least 1"),
    ({"outages": [{"node": "a", "start": 0, "duration": 1e9}]}, "at most 1e.08 s"),
    ({"outages": [{"node": "a", "start": 1e9, "duration": 1}]}, "at most 1e.08 s"),
    ({"outages": [{"node": "a", "start": 0, "duration": 0}]}, "greater than 0"),
    ({"failures": [{"links": "all", "mtbf": 1e-9, "mttr": 1}]}, "at least 1e-05"),
    ({"stall_timeout": 1e30}, "at most 1e.08 s"),
    ({"backoff": 1e30}, "at most 1e.08 s"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_links_of_a_scenario(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LinkOptions.model_validate({"up": 1e6, **given})


@pytest.mark.parametrize(("given", "message"), NETWORK)
def test_the_network_of_a_scenario(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NetworkOptions.model_validate(given)


def test_at_the_bounds() -> None:
    LinkOptions.model_validate({"up": 1, "down": 1e15, "latency": 1e5, "jitter": 1e5, "loss": 0.99,
                                "profile": [[0, 0], [LEAST_CHANGE, 5]], "period": 3 * LEAST_CHANGE})  # fmt: skip
    NetworkOptions.model_validate(
        {"transport": {"kind": "fluid", "framing": 65535}, "outages": [{"node": "a", "start": 1e8, "duration": 1e8}]}
    )


def test_the_schema_shows_the_bounds() -> None:
    fields = LinkOptions.model_json_schema()["properties"]
    assert fields["latency"]["anyOf"][0] == {"type": "number", "minimum": 0.0, "maximum": 1e5}
    assert fields["loss"]["anyOf"][0] == {"type": "number", "minimum": 0.0, "maximum": 0.99}


@pytest.mark.parametrize("name", ["", "a>b", ">", "\ud800", "a\nb", "a\tb", "\x00", "a\u2028b", "x" * 256, "\x7f"])
def test_bad_names(name: str) -> None:
    assert name_fault(name)
    said = faults_of([Node(name, "cloud"), Node("c", "client")], [Link(name, "c", 1e6, 1e6)])
    assert any(fault.message == name_fault(name) for fault in said)
    str(said[0]).encode()


@pytest.mark.parametrize("name", ["a", "x" * 255, "$\\frac{$", "Zür ich", "東京", "a/b", "ed-ge_0", "<a"])
def test_good_names(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e300])
def test_links_made_otherwise_are_looked_at_too(value: float) -> None:
    nodes = [Node("a", "cloud"), Node("c", "client")]
    for key in ("up", "down", "latency", "jitter", "loss", "cell_bandwidth"):
        link = Link(**{"u": "a", "v": "c", "up": 1e6, "down": 1e6, key: value})
        assert any(key in fault.message for fault in faults_of(nodes, [link])), key


def test_profiles() -> None:
    assert profile_fault((), None) is None
    assert profile_fault(((0.0, 0.0),), None) is None, "a link that stays down, as a case file may have it"
    assert profile_fault(((0.0, 0.0),), 5.0)
    assert profile_fault(((2.0, 5.0),), 2.0)
    assert is_dead(((0.0, 0.0), (1.0, 0.0)))
    assert not is_dead(((1.0, 0.0),))
    assert not is_dead(())
