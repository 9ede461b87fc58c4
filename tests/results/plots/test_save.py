"""Figures as a family: which are drawn for which runs, one by its name, and what a broken one costs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import matplotlib.figure
import pytest
import synthetic_run
from matplotlib.axes import Axes

from elsa_sim.base.errors import DiskFull, InputError, RunFailed
from elsa_sim.results import plots
from elsa_sim.results.metrics import Results
from elsa_sim.results.plots.base import Figure


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Figures that a test defines are forgotten after it."""
    plots.figures()
    before = dict(Figure.members)
    yield
    Figure.members.clear()
    Figure.members.update(before)


def test_a_figure_is_drawn_by_its_name() -> None:
    run = synthetic_run.make(rounds=2)
    assert plots.draw("bytes_by_kind", run).get_xlabel() == plots.bytes_by_kind(run).get_xlabel()
    for kind, runs, words in (("pie", run, "there is no figure 'pie'; valid: accuracy_over_bytes, "),
                              ("timeline", [run, run], "'timeline' shows one run"),
                              ("energy_by_role", run, "'energy_by_role' shows several runs compared"),
                              ("tokens_recovered", run, "with the data for it")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            plots.draw(kind, runs)


def test_every_figure_says_what_it_is_and_how_many_runs_it_shows() -> None:
    for kind, figure in plots.figures().items():
        assert figure.__doc__ is not None, kind
        assert figure.__doc__.splitlines()[0].endswith("."), kind
        assert figure.shows in ("one", "several", "any"), kind


def test_a_figure_that_fails_is_named_and_takes_no_other_with_it(forgotten: None, tmp_path: Path) -> None:
    class Broken(Figure):
        """A figure that cannot be drawn."""

        kind: Literal["broken"] = "broken"

        def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
            raise ZeroDivisionError("nothing by nothing")

    run = synthetic_run.make(rounds=1)
    with pytest.raises(RunFailed, match=r"broken: ZeroDivisionError: nothing by nothing \(test_save\.py, line \d+\)$"):
        plots.save_figures(run, tmp_path, ["png"])
    names = {path.stem for path in tmp_path.iterdir()}
    assert {"accuracy_over_bytes", "bytes_by_kind", "timeline", "topology_map"} <= names
    assert "broken" not in names


@pytest.mark.parametrize("name", ["c$\\frac{$", "$5 or $6", "a_$x^2$"])
def test_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    """A name with dollar signs is no formula, neither one that fails nor one that works."""
    plain = synthetic_run.make(rounds=2)
    events = plain.events.assign(
        **{key: plain.events[key].str.replace("client0", name) for key in ("node", "peer", "route")}
    )
    network = json.loads(json.dumps(plain.topology).replace('"client0"', json.dumps(name)))
    run = replace(plain, events=events, topology=network)
    assert plots.save_figures(run, tmp_path, ("png",))
    ax = plots.draw("energy_by_node", run)
    assert name in [label.get_text() for label in ax.get_yticklabels()]
    assert not any(label.get_parse_math() for label in ax.get_yticklabels())


def test_a_full_disk_is_told_once_and_leaves_no_half_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = matplotlib.figure.Figure.savefig

    def full(self: matplotlib.figure.Figure, path: Path, **options: Any) -> None:
        save(self, path, **options)
        os.truncate(path, 100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", full)
    with pytest.raises(DiskFull, match=r"No space left on device$"):
        plots.save_figures(synthetic_run.make(rounds=1), tmp_path, ["png"])
    assert not list(tmp_path.iterdir())
