"""Known devices."""

from __future__ import annotations

from typing import get_args

import pytest

from elsa_sim.devices import DeviceOptions, DevicesOptions, NumberType, known
from elsa_sim.devices.profiles import told
from elsa_sim.topology import Link, Node, Topology

PAIR = Topology((Node("cloud", "cloud"), Node("client0", "client")), (Link("client0", "cloud", 1.0, 1.0),))
#: Effective speeds (FLOP/s) that timelines of scenarios with these names were played with.
KEPT = {"raspberry-pi-4": 12e9, "raspberry-pi-5": 38.4e9, "jetson-nano": 70.8e9, "jetson-orin-nano-8gb": 384e9,
        "jetson-agx-xavier": 423e9, "jetson-agx-orin-64gb": 1.596e12, "laptop-4-core": 96e9, "server-20-core": 512.5e9,
        "nvidia-t4": 2.43e12, "nvidia-rtx-3090": 10.68e12, "nvidia-a100-40gb": 5.85e12, "nvidia-h100-sxm": 20.07e12}  # fmt: skip


@pytest.mark.parametrize("name", known())
def test_every_profile_makes_a_device_and_names_its_source(name: str) -> None:
    options = DeviceOptions.model_validate({"profile": name})
    entry = known()[name]
    peaks = entry["peak_flops"]
    assert "float32" in peaks
    assert set(peaks) <= set(get_args(NumberType))
    assert options.speed == {numbers: pytest.approx(peak * entry["efficiency"]) for numbers, peak in peaks.items()}
    assert 0 < options.power.idle < options.power.busy
    assert len(entry["source"]) > 20
    figures = {*entry, *(f"peak_flops.{numbers}" for numbers in peaks)}
    assert set(entry["unverified"]) <= figures - {"source", "unverified", "efficiency"}


@pytest.mark.parametrize("name", known())
def test_smaller_numbers_are_never_slower(name: str) -> None:
    """What catches a peak with sparsity beside one without, or a slip of a power of ten."""
    peaks = known()[name]["peak_flops"]
    half = peaks.get("float16", peaks.get("bfloat16"))
    if half is not None:
        assert 1 <= half / peaks["float32"] < 31
    if "int8" in peaks:
        assert 1 <= peaks["int8"] / half < (4.1 if "rtx" in name else 2.1)  # GeForce: float32 accumulation at half rate
    assert peaks.get("bfloat16", half) == half
    assert 1e10 < peaks["float32"] < 2e14


def test_known_names_keep_their_speed() -> None:
    found = {name: DeviceOptions.model_validate({"profile": name}).computing_in("float32") for name in KEPT}
    assert {name: options.effective_speed for name, options in found.items()} == KEPT


def test_profiles_give_way_to_what_is_stated() -> None:
    options = DevicesOptions.model_validate(
        {
            "client": {"profile": "jetson-nano", "speed": "1 GFLOP/s"},
            "overrides": {"client0": {"profile": "raspberry-pi-5"}},
        }
    )
    assert (options.client.speed, options.client.memory) == (1e9, 4 * 2.0**30)
    assert options.of(PAIR)["client0"].effective_speed == pytest.approx(38.4e9)
    one = DeviceOptions.model_validate({"profile": "nvidia-t4", "speed": {"float16": 9e12}})
    assert one.speed == {"float32": pytest.approx(2.43e12), "float16": 9e12, "int8": pytest.approx(39e12)}


def test_a_profile_is_told_in_one_line() -> None:
    assert told("raspberry-pi-4") == ("12 GFLOP/s float32 (25 % of peak); 4 GiB; 2.7 W idle, 6.4 W busy; verified")
    assert told("nvidia-rtx-4080") == (
        "14.61 TFLOP/s float32, 29.25 TFLOP/s float16 / bfloat16, 117 TFLOP/s int8 (30 % of peak); 16 GiB; 15 W idle, "
        "320 W busy; unverified: speed in int8, idle power, busy power"
    )
    assert "unverified: speeds, memory, " in told("laptop-4-core")
