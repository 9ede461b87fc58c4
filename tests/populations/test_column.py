"""Columns of tables: rows stay together, units are never assumed, and what is wrong is a fault with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawables import Device

from elsa_sim.base.context import Context
from elsa_sim.base.errors import Fault, InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.base.units import Bandwidth, Speed
from elsa_sim.populations import Column
from elsa_sim.populations.drawing import Drawer, loaded

TABLE = "# synthetic\nmodel,gflops,up,slow\na,5,1 Mbit/s,1\n\nb,20,6 Mbit/s,2\nc,80,20 Mbit/s,4\n"


def drawn(folder: Path, given: dict[str, Any], count: int = 300, seed: int = 1) -> list[Device]:
    context, faults = Context(Streams(seed), folder), list[Fault]()
    options = loaded(Device.model_validate(given), context, "client", faults)
    if faults:
        raise InputFaults(faults)
    drawer = Drawer(context.streams)
    return [drawer.of(options, f"client{i}", "devices", "client") for i in range(count)]


def of(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "column", "file": "t.csv", "column": name, **more}


def test_all_columns_of_a_file_are_of_one_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    given = {"name": of("model"), "speed": of("gflops", unit="GFLOP/s"), "up": of("up"), "factor": of("slow")}
    found = drawn(tmp_path, given)
    rows = {(each.name, each.speed, each.up, each.factor) for each in found}
    assert rows == {("a", 5e9, 1e6, 1.0), ("b", 20e9, 6e6, 2.0), ("c", 80e9, 20e6, 4.0)}
    apart = drawn(tmp_path, given | {"up": of("up", together=False)})
    assert len({(each.speed, each.up) for each in apart}) == 9
    assert [each.speed for each in apart] == [each.speed for each in found]


def test_a_moved_file_gives_the_same_rows(tmp_path: Path) -> None:
    """The stream is named by what the file holds: the resolved scenario has another path to it."""
    for name in ("t.csv", "moved.csv"):
        (tmp_path / name).write_text(TABLE)
    given = of("gflops", unit="GFLOP/s")
    assert drawn(tmp_path, {"speed": given}) == drawn(tmp_path, {"speed": given | {"file": "moved.csv"}})


def test_correlation_is_that_of_the_file(tmp_path: Path) -> None:
    pairs = np.exp(np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 2000))
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{1e9 * a:.6g},{1e6 * b:.6g}" for a, b in pairs))
    given = {"speed": of("a", unit="FLOP/s"), "up": of("b", unit="bit/s")}
    found = np.log([(each.speed, each.up) for each in drawn(tmp_path, given, 4000)])
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(np.corrcoef(np.log(pairs).T)[0, 1], abs=0.05)
    apart = np.log(
        [(x.speed, x.up) for x in drawn(tmp_path, given | {"up": of("b", unit="bit/s", together=False)}, 4000)]
    )
    assert abs(np.corrcoef(apart.T)[0, 1]) < 0.06


@pytest.mark.parametrize(("text", "given", "key", "message"), [
    (TABLE, of("glops", unit="GFLOP/s"), "column", "did you mean 'gflops'"),
    (TABLE, of("gflops"), "column", "line 3: '5' has no unit"),
    (TABLE, of("up"), "column", "line 3: 'Mbit/s' is not a unit of speed"),
    (TABLE.replace("20,", "nan,"), of("gflops", unit="GFLOP/s"), "column", "line 5: 'nan GFLOP/s' is not a speed"),
    (TABLE.replace("20,", "-1,"), of("gflops", unit="GFLOP/s"), "column", "line 5: must be at least 0"),
    (TABLE.replace("20,", ","), of("gflops", unit="GFLOP/s"), "column", "line 5: there is no value"),
    ("", of("gflops"), "file", "no header"),
    ("gflops\n", of("gflops"), "column", "no row"),
    ("a,a\n1,2\n", of("a"), "file", "two columns are called 'a'"),
    ("a\n\"x", of("a"), "file", "unexpected end"),
    ("a\n\xff", of("a"), "file", "not UTF-8"),
    (None, of("a"), "file", "no such file"),
])  # fmt: skip
def test_wrong_files_are_faults(
    tmp_path: Path, text: str | None, given: dict[str, Any], key: str, message: str
) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputFaults, match=message) as caught:
        drawn(tmp_path, {"speed": given})
    assert {each.path for each in caught.value.faults} == {f"client.speed.{key}"}


def test_bounds_hold_before_those_of_the_field(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE.replace("20,", "-1,"))
    found = drawn(tmp_path, {"speed": of("gflops", unit="GFLOP/s", at_least="1 GFLOP/s")})
    assert {each.speed for each in found} == {5e9, 1e9, 80e9}


def test_a_unit_fits_the_option() -> None:
    with pytest.raises(ValueError, match="not a unit of speed; valid: FLOP/s"):
        Column[Speed].model_validate(of("a", unit="Mbit/s"))
    with pytest.raises(ValueError, match="has no unit; leave unit out"):
        Column[float].model_validate(of("a", unit="s"))
    with pytest.raises(ValueError, match="text has no bounds"):
        Column[str].model_validate(of("a", at_least="a"))
    assert Column[Bandwidth].model_validate(of("a", unit="Mbit/s")).unit == "Mbit/s"
