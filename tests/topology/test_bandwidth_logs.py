"""Logs of downloads on the move, as a trace of a link; and a choice of traces, one for each client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import Link, Star

#: Three lines of the example on the page of the Ghent data set.
LOG = """\
1453121790686 39287 51.0386528885778 3.73220785642186 2493100 1000
1453121791687 40288 51.0386532820580 3.73222847166054 2763504 1001
1453121792686 41287 51.0386553301824 3.73225142858955 2728896 0999
"""


def links(folder: Path, clients: int = 1, **access: Any) -> list[Link]:
    star = Star.model_validate({"clients": clients, "access": {"up": "1 Mbit/s"} | access})
    return list(star.build(Context(Streams(0), folder)).links)


def test_bandwidth_is_bytes_over_ms_from_the_line_before_on(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("# a comment\n" + LOG)
    (link,) = links(tmp_path, trace={"file": "log", "format": "bandwidth_log"})
    expected = [(0.0, 2493100 * 8 / 1.0), (1.0, 2763504 * 8 / 1.001), (2.001, 2728896 * 8 / 0.999)]
    assert [*map(pytest.approx, expected)] == [*link.profile]
    assert link.period is None
    (link,) = links(tmp_path, trace={"file": "log", "format": "bandwidth_log"}, repeat=True)
    assert link.period == pytest.approx(3.0)
    (link,) = links(tmp_path, trace={"down": {"file": "log", "format": "bandwidth_log"}})
    assert link.profile == ()
    assert link.profile_down is not None
    assert len(link.profile_down) == 3


@pytest.mark.parametrize(("text", "message"), [
    ("", "is empty"), ("# nothing\n", "no line of a download"), ("1 2 3\n", "line 1: expected six numbers"),
    (LOG + "x\n", "line 4: expected six"), (LOG + LOG, "line 4: times must increase"), ("1 nan 3 4 5 6\n", "six numbers"),
    ("1 2 3 4 -5 6\n", "must not be negative"), ("1 2 3 4 5 0\n", "ms must be above 0"), ("1 2 3 4 0 6\n", "never carries"),
])  # fmt: skip
def test_wrong_logs_are_faults(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log").write_text(text)
    with pytest.raises(InputFaults, match=message) as caught:
        links(tmp_path, trace={"file": "log", "format": "bandwidth_log"})
    assert {each.path for each in caught.value.faults} == {"access.trace"}


def test_each_client_draws_one_of_several_traces(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0,1e6\n5,2e6\n")
    (tmp_path / "log").write_text(LOG)
    choice = {"kind": "choice", "of": ["a.csv", {"file": "log", "format": "bandwidth_log"}], "weights": [1, 2]}
    up = {"kind": "uniform", "low": 1e6, "high": 2e6}
    found = links(tmp_path, 60, up=up, trace=choice)
    lengths = [len(link.profile) for link in found]
    assert lengths.count(2) == pytest.approx(20, abs=12)
    assert set(lengths) == {2, 3}
    assert len({link.up for link in found}) == 60
    assert [len(link.profile) for link in links(tmp_path, 10, trace=choice)] == lengths[:10]


def test_a_wrong_trace_among_several_is_one_fault(tmp_path: Path) -> None:
    with pytest.raises(InputFaults, match="no such file") as caught:
        links(tmp_path, 30, trace={"kind": "choice", "of": ["none.csv"]})
    assert [each.path for each in caught.value.faults] == ["access.trace"]
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        links(tmp_path, 1, trace={"kind": "uniform", "low": "a", "high": "b"})
