"""Units at the door: round trips, prefixes, and nothing but ValueError for what is no quantity."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from elsa_sim.base.units import (
    UNITS,
    Bandwidth,
    Decibels,
    Distance,
    Frequency,
    NoiseDensity,
    Power,
    Seconds,
    Size,
    Speed,
    bounded,
    format_bandwidth,
    format_bytes,
    format_energy,
    format_seconds,
    format_speed,
    parse,
    quantity_of,
    unit_for,
)


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("100 Mbit/s", "bandwidth", 1e8),
        ("100Mbit/s", "bandwidth", 1e8),
        ("  1.5\tGbps ", "bandwidth", 1.5e9),
        ("1 MB/s", "bandwidth", 8e6),
        ("1 MiB/s", "bandwidth", 8 * 2.0**20),
        ("20 ms", "time", 0.02),
        ("3 us", "time", 3e-6),
        ("3 µs", "time", 3e-6),
        ("2 h", "time", 7200.0),
        ("1.5 d", "time", 129600.0),
        ("2 min", "time", 120.0),
        ("300 MiB", "size", 300 * 2.0**20),
        ("300 MB", "size", 3e8),
        ("1 kB", "size", 1000.0),
        ("1 KB", "size", 1000.0),
        ("1 KiB", "size", 1024.0),
        ("4 GFLOP/s", "speed", 4e9),
        ("4 TFLOPS", "speed", 4e12),
        ("250 mW", "power", 0.25),
        ("2.4 GHz", "frequency", 2.4e9),
        ("30 dBm", "power", 1.0),
        ("-3 dBW", "power", 10**-0.3),
        ("-174 dBm/Hz", "noise density", 10**-20.4),
        ("2 km", "distance", 2000.0),
        ("1e3", "time", 1000.0),
        ("1.e-3 s", "time", 1e-3),
        (".5 s", "time", 0.5),
        ("+5 s", "time", 5.0),
        ("-5 s", "time", -5.0),
        (7, "size", 7.0),
        (0.25, "time", 0.25),
    ],
)
def test_texts_and_numbers(text: Any, quantity: str, value: float) -> None:
    assert parse(text, quantity) == pytest.approx(value, rel=1e-15)


SMALL, LARGE = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}, {
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


@pytest.mark.parametrize(
    ("quantity", "unit", "factor", "prefixes"),
    [
        ("bandwidth", "bit/s", 1, LARGE),
        ("bandwidth", "bps", 1, LARGE),
        ("bandwidth", "B/s", 8, LARGE),
        ("time", "s", 1, SMALL),
        ("size", "B", 1, LARGE),
        ("speed", "FLOP/s", 1, LARGE),
        ("speed", "FLOPS", 1, LARGE),
        ("frequency", "Hz", 1, LARGE),
    ],
)
def test_prefixes(quantity: str, unit: str, factor: float, prefixes: dict[str, float]) -> None:
    for prefix, scale in {"": 1.0, **prefixes}.items():
        assert parse(f"3 {prefix}{unit}", quantity) == pytest.approx(3 * scale * factor, rel=1e-15)


@pytest.mark.parametrize("quantity", UNITS)
def test_a_bare_number_is_in_the_si_unit(quantity: str) -> None:
    si = next(iter(UNITS[quantity]))
    assert parse("12.5", quantity) == parse(12.5, quantity) == parse(f"12.5 {si}", quantity) == 12.5


@given(st.sampled_from([(q, u) for q in UNITS for u in UNITS[q]]), st.floats(0, 1e12))
def test_every_unit_scales_by_its_factor(unit: tuple[str, str], value: float) -> None:
    quantity, name = unit
    assert parse(f"{value!r} {name}", quantity) == value * UNITS[quantity][name]


@given(st.text() | st.from_regex(r"[0-9.eE+-]{1,12} ?[A-Za-z/]{0,6}", fullmatch=True), st.sampled_from(list(UNITS)))
@example("١ s", "time")
@example("1e999 s", "time")
@example("9999 dBm", "power")
@example("1e308 dBW/Hz", "noise density")
@example("9" * 5000, "time")
@example("nan", "time")
@example("inf", "time")
@example("0x10", "size")
@example("1_000", "size")
@example("1,5 s", "time")
@example("", "time")
def test_any_text_is_a_finite_number_or_a_value_error(text: str, quantity: str) -> None:
    try:
        value = parse(text, quantity)
    except ValueError:
        return
    assert math.isfinite(value)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.lists(st.integers()) | st.dates()


@given(anything, st.sampled_from(list(UNITS)))
@example(10**400, "size")
@example(10**5000, "size")
@example(True, "size")
def test_anything_else_is_a_finite_number_or_a_value_error(value: Any, quantity: str) -> None:
    try:
        result = parse(value, quantity)
    except ValueError:
        return
    assert not isinstance(value, bool)
    assert isinstance(value, int | float)
    assert result == float(value)
    assert math.isfinite(result)


@pytest.mark.parametrize(
    "text", ["1" * 50_000 + " a b", "1." + "1" * 50_000 + "e", " " * 50_000 + "x", "1" + " " * 50_000 + "a b"]
)
def test_long_texts_are_read_once(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match="time"):
        parse(text, "time")
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    ("value", "quantity", "message"),
    [
        ("5 parsecs", "time", "'parsecs' is not a unit of time; valid: s, "),
        ("5 Mb/s", "bandwidth", "'Mb/s' is not a unit of bandwidth"),
        ("fast", "bandwidth", "'fast' is not a bandwidth; write a number and a unit, such as '10 Mbit/s'"),
        ("5 5 s", "time", "is not a time"),
        (True, "time", "expected a time such as '10 ms', got True"),
        (None, "size", "expected a size such as '10 MiB', got None"),
        ("1e400", "size", "is not a finite size"),
        (math.inf, "size", "is not a finite size"),
        (math.nan, "size", "is not a finite size"),
    ],
)
def test_messages_say_what_would_be_right(value: Any, quantity: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse(value, quantity)
    assert message in str(caught.value)


class Link(BaseModel):
    model_config = ConfigDict(strict=True)
    bandwidth: Bandwidth
    latency: Seconds = 0.0
    queue: Size = 0.0


def test_fields_take_texts_and_numbers_and_refuse_negative_ones() -> None:
    link = Link(bandwidth="10 Mbit/s", latency="5 ms", queue=3)
    assert (link.bandwidth, link.latency, link.queue) == (1e7, 5e-3, 3.0)
    for wrong in ("-1 bit/s", -1, "1 s", None, True, [1]):
        with pytest.raises(ValidationError):
            Link(bandwidth=wrong)
    schema = TypeAdapter(Bandwidth).json_schema()
    assert [item["type"] for item in schema["anyOf"]] == ["number", "string"]
    assert "Mbit/s" in schema["description"]


# The other way ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "quantity"), [(format_bytes, "size"), (format_bandwidth, "bandwidth"), (format_speed, "speed")]
)
@given(value=st.floats(1e-3, 1e18))
def test_what_is_printed_reads_back(format: Any, quantity: str, value: float) -> None:
    assert parse(format(value), quantity) == pytest.approx(value, rel=5.1e-4)


@given(st.floats(1e-9, 59.9) | st.floats(1e-9, 1e7))
def test_printed_seconds_read_back(value: float) -> None:
    text = format_seconds(value).split()
    pairs = zip(text[::2], text[1::2], strict=True)
    total = sum(parse(f"{number} {unit}", "time") for number, unit in pairs)
    assert total == pytest.approx(value, rel=5.1e-4, abs=0.51 if value >= 3600 else 0.06 if value >= 60 else 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_bytes(0), "0 B"),
        (format_bytes(12345678), "12.35 MB"),
        (format_bytes(999), "999 B"),
        (format_bytes(1000), "1 kB"),
        (format_bandwidth(2e7), "20 Mbit/s"),
        (format_speed(4e9), "4 GFLOP/s"),
        (format_energy(1234.5), "1.234 kJ"),
        (format_energy(0.5), "0.5 J"),
        (format_seconds(0), "0 ms"),
        (format_seconds(0.0123), "12.3 ms"),
        (format_seconds(75), "1 min 15.0 s"),
        (format_seconds(7385), "2 h 03 min 05 s"),
    ],
)
def test_printed_quantities(text: str, expected: str) -> None:
    assert text == expected


def test_bounded_quantities_say_their_bounds_and_why() -> None:
    kind = TypeAdapter(Annotated[float, *bounded("time", 1e-3, 60.0, "nobody waits longer")])
    assert [kind.validate_python(value) for value in ("1 ms", "1 min", 5)] == [1e-3, 60.0, 5.0]
    for value in ("0.9 ms", 61, -5, "2 h"):
        with pytest.raises(ValidationError, match=r"at least 0.001 and at most 60 s \(nobody waits longer\)"):
            kind.validate_python(value)
    with pytest.raises(ValidationError, match="is not a unit of time"):
        kind.validate_python("5 Mbit/s")
    schema = kind.json_schema()
    assert schema["anyOf"][0] == {"type": "number", "minimum": 1e-3, "maximum": 60.0}
    assert "number in s" in schema["description"]


@pytest.mark.parametrize(("quantity", "most"), [
    (Bandwidth, 1e15), (Seconds, 1e8), (Size, 1e18), (Speed, 1e21), (Power, 1e10), (Frequency, 1e15), (Distance, 1e9),
    (NoiseDensity, 1.0), (Decibels, 300.0),
])  # fmt: skip
def test_every_quantity_has_a_bound_and_says_why(quantity: Any, most: float) -> None:
    adapter = TypeAdapter(quantity)
    assert adapter.validate_python(most) == most
    least = -most if quantity is Decibels else 0.0
    assert adapter.validate_python(least) == least
    for wrong in (math.nextafter(most, math.inf), math.nextafter(least, -math.inf), 1e308):
        with pytest.raises(ValidationError, match=r"must be at least .* and at most .* \(.+\), got"):
            adapter.validate_python(wrong)


def test_the_unit_that_values_are_told_in() -> None:
    assert unit_for(2e7, "bandwidth") == ("Mbit/s", 1e6)
    assert unit_for(0.02, "time") == ("ms", 1e-3)
    assert unit_for(0.0, "power") == ("mW", 1e-3)
    assert unit_for(3.0, "distance") == ("m", 1.0)
    assert quantity_of(Speed) == "speed"
    assert quantity_of(float) is None
