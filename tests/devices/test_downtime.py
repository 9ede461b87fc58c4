"""When devices are away: seeds, shares, traces."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.intervals import Presence
from elsa_sim.base.streams import Streams
from elsa_sim.devices import (
    AvailabilityTrace,
    DeviceOptions,
    DevicesOptions,
    Downtime,
    OnOff,
)
from elsa_sim.topology import Link, Node, Topology

PAIR = Topology((Node("cloud", "cloud"), Node("client0", "client")), (Link("client0", "cloud", 1.0, 1.0),))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", sorted(set(Downtime.members) - {"crash", "trace", "fedscale"}))
def test_every_downtime_is_seeded_and_in_order(kind: str) -> None:
    """The law of the family: intervals in order that do not overlap, the same for the same seed."""
    downtime = Downtime.members[kind]()
    assert isinstance(downtime, Downtime)
    found = list(itertools.islice(downtime.intervals(rng()), 50))
    assert found == list(itertools.islice(downtime.intervals(rng()), 50))
    flat = [time for interval in found for time in interval]
    assert flat == sorted(flat)
    assert all(start < end for start, end in found)


def test_on_off_share() -> None:
    away = sum(
        min(end, 1e6) - start
        for start, end in itertools.takewhile(lambda i: i[0] < 1e6, OnOff(on=600, off=200).intervals(rng(2)))
    )
    assert away / 1e6 == pytest.approx(0.25, rel=0.1)
    assert list(itertools.islice(OnOff(on=3, off=1, times="fixed").intervals(rng()), 2)) == [(3, 4), (7, 8)]


def test_presence_joins_all_downtimes_and_may_be_asked_at_any_time() -> None:
    presence = Presence([iter([(1.0, 3.0), (8.0, 9.0)]), iter([(2.0, 5.0), (20.0, math.inf)])])
    for _ in range(2):
        assert [presence.back(t) for t in (0.0, 1.0, 2.5, 4.0, 5.0, 8.5, 21.0)] == [
            0.0,
            5.0,
            5.0,
            5.0,
            5.0,
            9.0,
            math.inf,
        ]
        assert [presence.leaves(t) for t in (0.0, 2.0, 5.0, 9.0, 30.0)] == [1.0, 1.0, 8.0, 20.0, 20.0]
    assert list(presence.intervals()) == [(1.0, 5.0), (8.0, 9.0), (20.0, math.inf)]


def load(tmp_path: Path, text: str, **options: Any) -> DeviceOptions:
    (tmp_path / "p.csv").write_text(text)
    downtime = {"kind": "trace", "file": "p.csv", **options}
    devices = DevicesOptions.model_validate({"client": {"downtimes": [downtime]}})
    return devices.of(PAIR, Context(Streams(0), tmp_path))["client0"]


def test_presence_from_a_trace(tmp_path: Path) -> None:
    (downtime,) = load(tmp_path, "seconds,state\n0,1\n2,0\n3,0\n5,1\n8,0\n").downtimes
    assert list(downtime.intervals(rng())) == [(2.0, 5.0), (8.0, math.inf)]
    (again,) = load(tmp_path, "0,1\n2,0\n5,1\n8,1\n", repeat=True).downtimes
    assert list(itertools.islice(again.intervals(rng()), 2)) == [(2.0, 5.0), (10.0, 13.0)]
    assert isinstance(again, AvailabilityTrace)


@pytest.mark.parametrize("head", ["time_ms,state", "Time (ms);state", "t_ms state"])
def test_the_unit_of_a_header_counts(tmp_path: Path, head: str) -> None:
    sign = next((each for each in ";," if each in head), " ")
    (downtime,) = load(tmp_path, f"{head}\n0{sign}1\n2000{sign}0\n5000{sign}1\n").downtimes
    assert list(downtime.intervals(rng())) == [(2.0, 5.0)]


def test_faults_of_traces(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match=r"client\.downtimes\.0\.file"):
        load(tmp_path, "0,1\n0,1\n")
    with pytest.raises(InputFaults, match="needs 2 or more"):
        load(tmp_path, "0,1\n", repeat=True)
