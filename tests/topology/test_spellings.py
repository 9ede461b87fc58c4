"""Units as other programs write them, and those that could be two."""

from __future__ import annotations

import pytest

from elsa_sim.topology.spellings import bandwidth_unit, time_unit, unit_in

BANDWIDTHS = {
    "bit/s": 1.0,
    "bps": 1.0,
    "bits/s": 1.0,
    "bits per second": 1.0,
    "b/s": 1.0,
    "kbps": 1e3,
    "Kbps": 1e3,
    "kbit/s": 1e3,
    "Mbit/s": 1e6,
    "Mbps": 1e6,
    "mbps": 1e6,
    "Mb/s": 1e6,
    "Mbits/sec": 1e6,
    "megabits per second": 1e6,
    "Gbps": 1e9,
    "gbps": 1e9,
    "Tbit/s": 1e12,
    "MB/s": 8e6,
    "kB/s": 8e3,
    "kBps": 8e3,
    "bytes/s": 8.0,
    "Bytes per second": 8.0,
    "B/s": 8.0,
    "MiB/s": 8 * 2.0**20,
    "kilobytes per second": 8e3,
    "bits_per_second": 1.0,
    "Kibit/s": 1024.0,
}
TIMES = {
    "s": 1.0,
    "sec": 1.0,
    "seconds": 1.0,
    "Seconds": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "milliseconds": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
}


@pytest.mark.parametrize("text", BANDWIDTHS)
def test_bandwidths(text: str) -> None:
    assert bandwidth_unit(text) == BANDWIDTHS[text]
    assert unit_in(f"bandwidth_{text}", "bandwidth") == BANDWIDTHS[text]
    assert unit_in(f"rate [{text}]", "bandwidth") == BANDWIDTHS[text]


@pytest.mark.parametrize("text", TIMES)
def test_times(text: str) -> None:
    assert time_unit(text) == TIMES[text]
    assert (
        unit_in(f"time_{text}", "time")
        == unit_in(f"Time ({text})", "time")
        == unit_in(f"time in {text}", "time")
        == TIMES[text]
    )


@pytest.mark.parametrize(
    "text", ["", "Mb", "Mbit", "MB", "MBPS", "BPS", "M", "fast", "s", "packets/s", "10 Mbps", "furlongs"]
)
def test_no_bandwidths(text: str) -> None:
    assert bandwidth_unit(text) is None


@pytest.mark.parametrize("text", ["", "S", "MS", "bps", "epoch", "m", "d"])
def test_no_times(text: str) -> None:
    assert time_unit(text) is None


@pytest.mark.parametrize("heading", ["time", "t", "timestamp", "Timestamp", "DL_bitrate", "bandwidth", "speed", ""])
def test_headings_without_a_unit(heading: str) -> None:
    assert unit_in(heading, "bandwidth") is None
    assert unit_in(heading, "time") is None


def test_the_longest_unit_counts() -> None:
    assert unit_in("download speed, bits per second", "bandwidth") == 1.0
    assert unit_in("throughput/Mbit/s", "bandwidth") == 1e6
