"""What has to fit which device: by the parts that a protocol trains there, to the byte."""

from __future__ import annotations

import re

import pytest
from small_runs import loaded

from elsa_sim.base.errors import ScenarioError
from elsa_sim.run.checks import check


def told(*changes: str) -> list[str]:
    """What does not fit."""
    with pytest.raises(ScenarioError) as caught:
        check(loaded(*changes))
    assert {fault.path.partition(".")[0] for fault in caught.value.faults} == {"devices"}
    return [fault.message for fault in caught.value.faults]


def bytes_of(message: str) -> int:
    found = re.search(r"takes (\d+) bytes", message)
    assert found
    return int(found.group(1))


@pytest.mark.parametrize(("protocol", "role", "what"), [
    ("fedavg", "client", "the whole model on 'client0', 'client1', 'client2'"),
    ("centralized", "cloud", "the whole model on 'cloud'"),
    ("elsa", "client", "Part 1 and Part 3 on 'client0', 'client1', 'client2'"),
    ("splitfed_v1", "cloud", "3 copies of Part 2 on 'cloud'"),
    ("splitfed_v2", "cloud", "1 copy of Part 2 on 'cloud'"),
    ("sflllm", "client", "Part 1 on 'client0', 'client1', 'client2'"),
])  # fmt: skip
def test_each_device_must_hold_what_is_trained_on_it(protocol: str, role: str, what: str) -> None:
    (message,) = told(f"protocol={protocol}", f"devices.{role}.memory=1 KiB")
    assert message.startswith(f"{what} takes ")
    assert (
        "memory is 1024 bytes (1.024 kB); give more, train fewer layers there, or a smaller task.batch_size; "
        in message
    )


def test_edge_servers_hold_a_copy_for_each_of_their_clients() -> None:
    found = told("protocol=elsa", "devices.edge.memory=1 KiB")
    assert [re.sub(" takes.*", "", message) for message in found] == [
        "2 copies of Part 2 on 'edge0'", "1 copy of Part 2 on 'edge1'"]  # fmt: skip
    two, one = map(bytes_of, found)
    assert one < two < 2 * one  # weights are there once


def test_it_fits_to_the_byte() -> None:
    (message,) = told("protocol=fedavg", "devices.client.memory=1 KiB")
    needed = bytes_of(message)
    check(loaded("protocol=fedavg", f"devices.client.memory={needed}"))
    assert told("protocol=fedavg", f"devices.client.memory={needed - 1}")


def test_who_trains_nothing_needs_no_room() -> None:
    check(loaded("protocol=centralized", "devices.client.memory=1", "devices.edge.memory=1"))
    check(loaded("protocol=fedavg", "devices.edge.memory=1", "devices.cloud.memory=1"))


def test_those_that_lack_the_same_are_told_of_together() -> None:
    found = told("protocol=fedavg", "devices.client.memory=1 KiB", "devices.overrides={client1: {memory: 2 KiB}}")
    assert [re.sub(" takes.*", "", message) for message in found] == [
        "the whole model on 'client0', 'client2'", "the whole model on 'client1'"]  # fmt: skip


def test_what_a_server_stores_counts_too() -> None:
    (message,) = told("protocol={kind: alignfed}", "devices.cloud.memory=1 KiB", "task.public=20")
    assert "on 'cloud' takes" in message
