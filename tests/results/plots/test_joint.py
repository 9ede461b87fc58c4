"""Figures of joint optimisation: what they draw is what they were given, with units."""

from __future__ import annotations

import matplotlib as mpl
import pytest
from instances import problem

from elsa_sim.joint import PARTS, Held, delay, optimise
from elsa_sim.joint.rounds import Point, fit
from elsa_sim.results.plots import convergence, delay_over, delay_parts, rounds_over_rank


def test_bars_add_up_to_the_round() -> None:
    given = problem(0)
    found = {name: optimise(given, held=held).breakdown for name, held in (("best", Held()), ("even", Held(even=True)))}
    ax = delay_parts({name: each.critical for name, each in found.items()})
    for row, each in enumerate(found.values()):
        ends = [bar.get_x() + bar.get_width() for bar in ax.patches if round(bar.get_y() + 0.34) == row]  # type: ignore[attr-defined]
        assert max(ends) == pytest.approx(each.round_s)
    assert ax.get_xlabel() == "Delay of a round (s)"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["best", "even"]
    legend = ax.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == sum(any(e.critical[part] > 0 for e in found.values()) for part in PARTS)


def test_every_part_has_a_colour_of_its_own() -> None:
    ax = delay_parts({"x": dict.fromkeys(PARTS, 1.0)})
    assert len({bar.get_facecolor() for bar in ax.patches}) == len(PARTS)
    assert delay(problem(0), optimise(problem(0)).decision).critical.keys() == set(PARTS)


def test_convergence_names_the_steps() -> None:
    steps = [("start", 9.0), ("power", 4.0), ("subchannels", 3.0)]
    ax = convergence(steps)
    assert ax.lines[0].get_ydata().tolist() == [9.0, 4.0, 3.0]  # type: ignore[union-attr]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["start", "power", "subchannels"]
    several = convergence({"a": steps, "b": steps[:2]})
    assert [len(line.get_xdata()) for line in several.lines] == [3, 2]  # type: ignore[arg-type]
    assert several.get_ylabel() == "Total delay (s)"


def test_delay_over_a_resource_has_means_and_ranges() -> None:
    ax = delay_over([1.0, 2.0], {"best": [3.0, 2.0], "random": [[4.0, 8.0], [3.0, 5.0]]}, "Bandwidth (MHz)")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3.0, 2.0], [6.0, 4.0]]  # type: ignore[union-attr]
    assert len(ax.collections) == 1
    assert ax.get_xlabel() == "Bandwidth (MHz)"


def test_rounds_show_what_was_measured() -> None:
    found = fit([Point(rank, 20.0 + 60.0 / rank) for rank in (1, 4, 16)])
    before = dict(mpl.rcParams)
    ax = rounds_over_rank([(p.rank, float(p.rounds or 0.0)) for p in found.points], found.law)
    assert len(ax.collections[0].get_offsets()) == 3  # type: ignore[arg-type]
    line = ax.lines[0]
    assert line.get_ydata()[-1] == pytest.approx(found.law(16))  # type: ignore[index]
    assert dict(mpl.rcParams) == before
