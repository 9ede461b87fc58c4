"""Options of the network, and their faults."""

from __future__ import annotations

import pytest
import simpy
from pydantic import ValidationError
from small_networks import TWO, net

from elsa_sim.base.errors import InputFaults
from elsa_sim.network import Network, NetworkOptions
from elsa_sim.topology import Link


def test_outages_of_unknown_places_are_faults() -> None:
    outages = [{"node": "bb", "start": 0, "duration": 1}, {"link": ["a", "c"], "start": 0, "duration": 1}]
    with pytest.raises(InputFaults) as caught:
        Network(simpy.Environment(), TWO, NetworkOptions.model_validate({"outages": outages}))
    assert [f.path for f in caught.value.faults] == ["outages.0", "outages.1.link"]
    assert "did you mean 'b'?" in str(caught.value)


def test_an_outage_names_a_node_or_a_link() -> None:
    for outage in ({"start": 0, "duration": 1}, {"node": "a", "link": ["a", "b"], "start": 0, "duration": 1}):
        with pytest.raises(ValueError, match="either a node or a link"):
            NetworkOptions.model_validate({"outages": [outage]})


def test_options() -> None:
    hop_by_hop = {"model": {"kind": "fifo"}}
    assert NetworkOptions.model_validate({**hop_by_hop, "transport": "fluid"}).model.store_and_forward
    with pytest.raises(
        ValidationError, match=r"'fifo' sends whole messages .* use transport: fluid with it, not 'tcp'"
    ):
        NetworkOptions.model_validate({**hop_by_hop, "transport": "tcp"})
    assert (
        NetworkOptions.model_validate(hop_by_hop).transport.kind
        == NetworkOptions(model="fifo").transport.kind
        == "fluid"
    )
    assert NetworkOptions().transport.kind == "tcp"
    assert NetworkOptions(model="ideal").model_dump()["model"] == {"kind": "ideal"}
    with pytest.raises(ValidationError, match="one of equal-share, fifo, ideal, max-min"):
        NetworkOptions(model="best")


ONE = net(Link("a", "b", 8e6, 8e6))


def test_faults() -> None:
    for where in ({}, {"links": "all", "node": "a"}):
        with pytest.raises(ValueError, match="either links, one link, or a node"):
            NetworkOptions.model_validate({"failures": [{**where, "mtbf": 1, "mttr": 1}]})
    failures = [{"node": "bb", "mtbf": 1, "mttr": 1}, {"link": ["a", "a"], "mtbf": 1, "mttr": 1}]
    with pytest.raises(InputFaults) as caught:
        Network(simpy.Environment(), ONE, NetworkOptions.model_validate({"failures": failures}))
    assert [f.path for f in caught.value.faults] == ["failures.0", "failures.1.link"]


def test_waits_before_retries_never_pass_their_limit_nor_come_from_nothing() -> None:
    """A factor that overflows is a long wait; no backoff is none, at the last attempt of many as at the first."""
    doubled = NetworkOptions(backoff=1.0, backoff_factor=2.0, backoff_limit=60.0)
    assert [doubled.wait(n) for n in (1, 2, 3, 7, 2000)] == [1.0, 2.0, 4.0, 60.0, 60.0]
    none = NetworkOptions(backoff=0.0, backoff_factor=2.0)
    assert [none.wait(n) for n in (1, 1024, 1025, 1026, 1_000_000)] == [0.0] * 5
