"""One speed, or several by the type of numbers: what is read, what is refused, and which counts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from elsa_sim.base.errors import InputFaults
from elsa_sim.devices import ClientOptions, DeviceOptions, DevicesOptions, speed_in
from elsa_sim.devices.speed import StatedSpeed
from elsa_sim.populations import place
from elsa_sim.topology import Link, Node, Topology

PAIR = Topology((Node("cloud", "cloud"), Node("client0", "client")), (Link("client0", "cloud", 1.0, 1.0),))
BOTH = {"float32": "1 TFLOP/s", "bfloat16": 4e12}


def test_one_number_counts_whatever_is_computed_in() -> None:
    options = ClientOptions.model_validate({"speed": "4 GFLOP/s"})
    assert options.speed == options.effective_speed == 4e9
    assert speed_in(4e9, "float32") == speed_in(4e9, "bfloat16") == 4e9
    assert options.computing_in("bfloat16") is options


def test_of_several_that_of_the_type_counts() -> None:
    options = DevicesOptions.model_validate({"client": {"speed": BOTH}})
    assert options.client.speed == {"float32": 1e12, "bfloat16": 4e12}
    assert options.of(PAIR)["client0"].effective_speed == 1e12
    assert options.of(PAIR, numbers="bfloat16")["client0"].effective_speed == 4e12
    with pytest.raises(ValueError, match="one of 2 speeds counts"):
        _ = options.client.effective_speed


def test_a_type_that_is_not_stated_is_a_fault_that_says_so() -> None:
    given = {"client": {"speed": {"bfloat16": "4 TFLOP/s"}}, "overrides": {"cloud": {"speed": {"int8": 1e12}}}}
    with pytest.raises(InputFaults) as caught:
        DevicesOptions.model_validate(given).of(PAIR)
    assert [fault.path for fault in caught.value.faults] == ["client.speed", "overrides.cloud.speed"]
    assert "computes in float32, and no speed is stated for it, only for bfloat16" in caught.value.faults[0].message


@pytest.mark.parametrize(("speed", "key", "message"), [
    ({"flaot32": 1e9}, "speed", "'flaot32' is not a type of numbers; valid: float32, float16, bfloat16, int8"),
    ({}, "speed", "no speed is stated"),
    ({"float32": 0.5}, "speed.float32", "must be at least 1 "),
    ({"float32": "5 GiB"}, "speed.float32", "not a unit of speed"),
    ("5 GiB", "speed", "not a unit of speed"),
    ([1e9], "speed", "expected a speed"),
])  # fmt: skip
def test_bad_speeds_are_told_where_they_are(speed: Any, key: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DeviceOptions.model_validate({"speed": speed, "memory": 1e9})
    (error,) = caught.value.errors()
    assert (".".join(place(error["loc"])), message in error["msg"]) == (key, True), error


def test_overrides_change_one_type_and_keep_the_others() -> None:
    given = {"client": {"speed": BOTH}, "overrides": {"client0": {"speed": {"bfloat16": 2e12}}}}
    options = DevicesOptions.model_validate(given)
    assert [options.of(PAIR, numbers=n)["client0"].effective_speed for n in ("float32", "bfloat16")] == [1e12, 2e12]
    given["overrides"] = {"client0": {"speed": 3e12}}
    assert DevicesOptions.model_validate(given).of(PAIR)["client0"].effective_speed == 3e12


def test_what_is_written_out_is_read_again() -> None:
    options = DevicesOptions.model_validate({"client": {"speed": BOTH}, "cloud": {"profile": "nvidia-l4"}})
    assert DevicesOptions.model_validate(options.model_dump(mode="json")) == options


def test_the_schema_has_both() -> None:
    one, text, several = TypeAdapter(StatedSpeed).json_schema()["anyOf"]
    assert (one["type"], text["type"], several["type"]) == ("number", "string", "object")
    assert set(several["properties"]) == {"float32", "float16", "bfloat16", "int8"}
