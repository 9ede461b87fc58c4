"""Real kernel TCP over links with delay: the emulation, and predictions. Needs root, TUN and cc; skips with a reason else.

Bounds are generous: what is measured depends on the machine. Where the emulator was late, measuring is repeated (`undisturbed`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import end_to_end
import predictions
import pytest
import sharing
import singles
from delay_lab import DelayLab, Net, Port, delay_lab, missing
from patterns import FRAMING, MSS
from plans import Action, play
from small_runs import known

REASON = missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
#: To be had as soon as the package has the transport: then these skip no longer.
needs_tcp = pytest.mark.skipif("tcp" not in predictions.transports(), reason="the package has no transport 'tcp'")
UP, DOWN, RTT, QUEUE = 20e6, 40e6, 0.06, 100_000


@pytest.fixture(scope="module")
def lab() -> Iterator[DelayLab]:
    """Host a behind an edge server, and a cloud: two links of other rates and delays in a row."""
    ports = {
        "a>e": Port(UP, QUEUE, 0.02),
        "e>c": Port(DOWN, QUEUE, 0.01),
        "c>e": Port(DOWN, QUEUE, 0.01),
        "e>a": Port(DOWN, QUEUE, 0.02),
    }
    with delay_lab(Net(("a", "c"), ports, {("a", "c"): ("a>e", "e>c"), ("c", "a"): ("c>e", "e>a")})) as found:
        yield found


def test_a_round_trip_takes_as_long_as_it_should(lab: DelayLab) -> None:
    """Within 1 ms of the delays of both links there and back, and of what an echo takes to be sent."""
    nominal = lab.net.round_trip("a", "c", singles.ECHO_BYTES, singles.ECHO_BYTES)
    assert nominal == pytest.approx(RTT, abs=0.5e-3)
    trips = [lab.ping("a", "c") for _ in range(3)]
    assert 0.0 <= min(trips) - nominal <= 1e-3


def test_a_long_flow_has_the_rate_of_the_narrowest_link(lab: DelayLab) -> None:
    """20 Mbit/s less framing, within 2 %, although its queue overflowed; nothing is lost elsewhere."""
    plan = [
        Action(name, "a", (), 0.0, "a>c", "c", nbytes) for name, nbytes in (("ramp", 2_000_000), ("long", 6_000_000))
    ]
    found = singles.undisturbed(lambda: play(lab, plan, {"a>c": ("a", "c")}))
    rate = 8 * 6_000_000 / (found.ends["long"] - found.ends["ramp"])
    assert rate == pytest.approx(UP * MSS / (MSS + FRAMING), rel=0.02)
    drops = found.lateness.drops
    assert drops["a>e"] > 0
    assert drops["e>c"] == drops["c>e"] == drops["e>a"] == 0
    assert found.again["long"] >= drops["a>e"]


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, Any]]:
    """One size in all modes, 20 Mbit/s and 60 ms: the windows of new connections cost round trips."""
    return {cell.mode: asdict(cell) for cell in singles.measure(UP, RTT, 100_000, repetitions=1)}


def test_windows_cost_round_trips(cells: dict[str, dict[str, Any]]) -> None:
    """100 kB are 70 segments: 10, 20 and 40 in flight, so two to three round trips more than at once; one more to connect."""
    at_once = predictions.single(cells["warm gap 0.0"], "fluid")
    took = {mode: cell["measured_s"] for mode, cell in cells.items()}
    assert took["warm gap 0.0"] == pytest.approx(at_once, rel=0.1)
    assert took["warm gap 0.15"] == pytest.approx(at_once, rel=0.15)
    assert at_once + 1.5 * RTT <= took["first"] <= at_once + 3.5 * RTT
    assert took["warm gap 1.0"] == pytest.approx(took["first"], rel=0.25)
    assert took["fresh"] - took["first"] == pytest.approx(RTT, rel=0.2)
    assert [len(cells[mode]["starts_s"]) for mode in ("fresh", "first", "warm gap 0.0", "warm gap 1.0")] == [1, 1, 5, 7]


@needs_tcp
def test_single_messages_are_predicted(cells: dict[str, dict[str, Any]]) -> None:
    for mode, cell in cells.items():
        assert predictions.single(cell, "tcp") == pytest.approx(cell["measured_s"], rel=0.1), mode


def test_a_wrong_link_is_noticed(cells: dict[str, dict[str, Any]]) -> None:
    """The comparison can fail: predictions for half the rate, and for twice the delay."""
    cell = cells["warm gap 0.0"]
    for wrong in ({"rate_bps": UP / 2}, {"rtt_s": 3 * RTT}):
        for transport in predictions.transports():
            assert abs(predictions.single({**cell, **wrong}, transport) / cell["measured_s"] - 1.0) > 0.2


@pytest.fixture(scope="module")
def shared() -> dict[str, Any]:
    """Two connections on one downlink, three turns."""
    return asdict(sharing.measure([0.01, 0.01], 500_000, repetitions=1))


def test_connections_share_a_downlink(shared: dict[str, Any]) -> None:
    """The link is full until the last one has all: what both have to send at its rate, and no less."""
    for turn in shared["turns"]:
        both = 2 * 8 * 500_000 * (MSS + FRAMING) / MSS / 20e6
        assert max(turn["measured_s"]) == pytest.approx(both, rel=0.08)
    starts = shared["turns"][1]["starts_s"]
    assert max(starts) - min(starts) < 5e-3


@needs_tcp
def test_shared_links_are_predicted(shared: dict[str, Any]) -> None:
    for predicted, turn in zip(predictions.shared(shared, "tcp"), shared["turns"], strict=True):
        assert max(predicted) == pytest.approx(max(turn["measured_s"]), rel=0.1)


def test_the_messages_of_a_run() -> None:
    """A run whose links are fluid, over real TCP: rounds take longer, but not twice as long; each repetition the same."""
    changes = ["network.transport={kind: fluid}"] if "tcp" in predictions.transports() else []
    found = end_to_end.measure(known("execution.mode=timing", *changes), 100_000, repetitions=2)
    assert found.unexplained == 0
    assert all(-0.5 < error < 0.01 for error in end_to_end.errors(asdict(found)))
    assert found.measured_s[0] == pytest.approx(found.measured_s[1], rel=0.1)


@needs_tcp
def test_the_rounds_of_a_run_are_predicted() -> None:
    found = end_to_end.measure(known("execution.mode=timing", "network.transport={kind: tcp}"), 100_000, repetitions=1)
    assert end_to_end.errors(asdict(found)) == pytest.approx([0.0] * len(found.simulated_s), abs=0.1)


def test_earlier_measurements_are_repeated() -> None:
    """Some cells of ``single.json`` in the folder that ELSA_SIM_TCP_ORACLE names, measured anew: within 10 %, and 1 ms."""
    folder = os.environ.get("ELSA_SIM_TCP_ORACLE")
    if not folder:
        pytest.skip("ELSA_SIM_TCP_ORACLE names no folder")
    earlier = json.loads((Path(folder) / "single.json").read_text(encoding="utf-8"))
    anew = {cell.mode: cell for cell in singles.measure(50e6, 0.05, 100_000, repetitions=1)}
    same = [c for c in earlier if (c["rate_bps"], c["bytes"]) == (50e6, 100_000) and abs(c["rtt_s"] - 0.05) < 2e-3]
    assert {cell["mode"] for cell in same} == anew.keys()
    for cell in same:
        assert anew[cell["mode"]].measured_s == pytest.approx(cell["measured_s"], rel=0.1, abs=1e-3), cell["mode"]
