"""FedScale's traces: the layout of its own files, without code in them; and the times when phones are there."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawables import Device

from elsa_sim.base.context import Context
from elsa_sim.base.errors import Fault, InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.devices import FedScaleBehaviour
from elsa_sim.populations import FedScale
from elsa_sim.populations.drawing import Drawer, loaded

CAPACITY = {1: {"computation": 50.0, "communication": 1000.0}, 2: {"computation": 200, "communication": 8000}}
GIVEN = {"speed": {"kind": "fedscale", "file": "c", "flops": 1e9}, "up": {"kind": "fedscale", "file": "c"}}
BEHAVIOUR = {7: {"duration": 60, "active": [10, 50], "inactive": [30, 90], "finish_time": 100, "model": "CPH1801"}}


def drawn(folder: Path, given: dict[str, Any], count: int = 200) -> list[Device]:
    context, faults = Context(Streams(0), folder), list[Fault]()
    options = loaded(Device.model_validate(given), context, "client", faults)
    if faults:
        raise InputFaults(faults)
    drawer = Drawer(context.streams)
    return [drawer.of(options, f"client{i}", "devices", "client") for i in range(count)]


def away(folder: Path, entry: Any, until: float, **options: Any) -> list[tuple[float, float]]:
    (folder / "b").write_bytes(pickle.dumps(entry))
    trace = FedScaleBehaviour(file="b", **options).loaded(Context(Streams(0), folder), "downtimes.0")
    return [*itertools.takewhile(lambda each: each[0] < until, trace.intervals(np.random.default_rng(0)))]


@pytest.mark.parametrize("write", [pickle.dumps, lambda made: json.dumps(made).encode()])
def test_speed_and_bandwidth_of_a_client_are_of_one_phone(tmp_path: Path, write: Any) -> None:
    (tmp_path / "c").write_bytes(write(CAPACITY))
    found = Counter((each.speed, each.up) for each in drawn(tmp_path, GIVEN))
    # 1 GFLOP in 50 ms and in 200 ms; kibibits
    assert set(found) == {(20e9, 1000 * 1024.0), (5e9, 8000 * 1024.0)}


def test_what_is_there_and_away_over_periods(tmp_path: Path) -> None:
    assert away(tmp_path, BEHAVIOUR, 200) == [(0, 10), (30, 50), (90, 100), (100, 110), (130, 150), (190, 200)]
    assert away(tmp_path, BEHAVIOUR, 60, offset=40.0) == [(0, 10), (50, 60)]
    always = {1: BEHAVIOUR[7] | {"active": [0], "inactive": [100]}}
    assert away(tmp_path, always, 1e9) == []
    never = {1: BEHAVIOUR[7] | {"active": [20], "inactive": [10]}}
    assert away(tmp_path, never, 1e9) == [(0.0, float("inf"))]


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


@pytest.mark.parametrize(("data", "message"), [
    (pickle.dumps({1: Evil()}), "only plain data is read"), (b"\x80", "neither JSON nor a pickle"), (b"{", "neither"),
    (b"", "neither"), (b"{}", "holds no clients"), (pickle.dumps(3), "holds no clients"), (b"[1]", "expected computation"),
    (json.dumps({"1": {"computation": 0, "communication": 1}}).encode(), "client 1: computation must be a number above 0"),
    (pickle.dumps({1: {"computation": float("nan"), "communication": 1}}), "computation must be"),
    (pickle.dumps({1: {"computation": 1}}), "communication must be"), (b"[" * 100_000, "neither"),
])  # fmt: skip
def test_wrong_files_are_faults(tmp_path: Path, data: bytes, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(InputFaults, match=message) as caught:
        drawn(tmp_path, GIVEN)
    assert {each.path for each in caught.value.faults} == {"client.speed.file", "client.up.file"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "wrong", [{"active": 3}, {"inactive": [-1]}, {"finish_time": 0}, {"finish_time": None}, {"active": ["x"]}]
)
def test_wrong_behaviour_is_a_fault(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputFaults, match=f"client 7: {next(iter(wrong))} must be"):
        away(tmp_path, {7: BEHAVIOUR[7] | wrong}, 1.0)


def test_of_what_it_is() -> None:
    for wrong, message in (({"speed": {"kind": "fedscale", "file": "c"}}, "flops is needed"),
                           ({"up": {"kind": "fedscale", "file": "c", "flops": 1.0}}, "flops is of speeds only"),
                           ({"factor": {"kind": "fedscale", "file": "c"}}, "speeds and bandwidths only")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Device.model_validate(wrong)
    assert FedScale(file="c").flops is None
