"""Numbers as people read them."""

from __future__ import annotations

from math import nan

import pytest

from elsa_sim.results.columns import NOTHING, multiple, numbers, texts


def test_one_unit_per_column_in_its_head() -> None:
    assert numbers("bytes", "B", [2_500_000.0, 12_000.0]).head == "bytes (MB)"
    assert numbers("bytes", "B", [2_500_000.0, 12_000.0]).cells == ("2.500", "0.012")
    assert numbers("accuracy", "", [0.5, 0.98765]).cells == ("0.5000", "0.9877")
    assert numbers("accuracy", "", [0.5]).head == "accuracy"
    assert numbers("rounds", "", [3.0, 12.0]).cells == ("3", "12")
    assert numbers("energy", "J", [0.0]).head == "energy (J)"


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "s"), (0.02, "ms"), (1.0, "s"), (599.0, "s"), (600.0, "min"),
                                                (36_000.0, "h")])  # fmt: skip
def test_times_have_units_that_people_use(seconds: float, shown: str) -> None:
    factor, unit = multiple(seconds, "s")
    assert unit == shown
    assert seconds == 0.0 or 1.0 <= seconds / factor < 1000.0


def test_small_beside_large_is_not_lost() -> None:
    assert numbers("bytes", "B", [512e6, 3000.0]).cells == ("512.0", "0.003")
    assert numbers("bytes", "B", [512e6, 0.0]).cells == ("512.0", "0.0")


def test_what_was_not_measured_is_no_number() -> None:
    assert numbers("accuracy", "", [nan, 0.5]).cells == (NOTHING, "0.5000")
    assert numbers("accuracy", "", [nan]).cells == (NOTHING,)
    assert texts("ended", ["done", None]).cells == ("done", NOTHING)


def test_means_have_their_spread_and_how_many_there_are() -> None:
    column = numbers("time", "s", [12.0, 3.0, nan], [0.25, nan, nan], [(3, 3), (1, 3), (0, 3)])
    assert column.cells == ("12.00 ± 0.25", "3.00 (1 of 3)", f"{NOTHING} (0 of 3)")
    assert numbers("rounds", "", [3.0], [0.0], [(2, 2)]).cells == ("3",)
    assert numbers("rounds", "", [3.0], [1.0], [(2, 2)]).cells == ("3.000 ± 1.000",)
