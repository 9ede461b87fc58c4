"""The family of figures: when the runs have the data for one, and how it is drawn.

Tested in tests/results/plots/test_save.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from matplotlib.axes import Axes

from ...base.registry import Component
from ..run_directory import Results


class Figure(Component):
    """A figure of one run, or of several compared. Its kind is the name of its files.

    Adding one is adding one file: a subclass with ``kind`` and `draw`, and `applies` where not every run has the data.
    `elsa_sim.plots.save_figures`, and so ``elsa-sim run`` and ``elsa-sim plot``, draw every figure that there is.
    """

    family: ClassVar[str] = "figure"
    #: How many runs it shows: exactly ``one``, ``several`` compared (two or more), or ``any`` number.
    shows: ClassVar[Literal["one", "several", "any"]] = "any"
    kind: str

    def applies(self, runs: Sequence[Results]) -> bool:
        """Whether these runs, of which there are as many as it shows, have the data for it."""
        return True

    def draw(self, runs: Sequence[Results], ax: Axes | None = None) -> Axes:
        """Draw the runs into ``ax``, or into the axes of a new figure; returns the axes."""
        raise NotImplementedError


def any_sent(runs: Sequence[Results]) -> bool:
    """Whether something was sent in every run."""
    return all((run.events["kind"] == "transfer").any() for run in runs)


def any_energy(runs: Sequence[Results]) -> bool:
    """Whether energy was spent in every run."""
    return all(run.events["energy_j"].sum() > 0 for run in runs)
