"""Power-of-choice (Cho, Wang and Joshi, arXiv:2010.01243): of some clients that are drawn, those with the largest loss.

d candidates are drawn without replacement in proportion to their samples, and the m with the largest local loss take part. The
paper's variant rpow-d: a client's loss is the mean over its local steps when it last took part, and infinite before that, so
nothing is sent or computed to know it; that a few numbers go up with the adapters is not counted on the wire. Ties go by the order
of the draw. Does not model: pow-d and cpow-d, which have the candidates evaluate the present model. Tested in
tests/selection/test_selections.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from ..base.errors import Fault
from .base import Candidates, CohortSelection, Count, Report, Roster, Selector, alike, counted, drawn, too_many, valued


class PowerOfChoice(CohortSelection):
    """The clients with the largest last loss among some that are drawn (power-of-choice, arXiv:2010.01243)."""

    needs_losses: ClassVar[bool] = True
    kind: Literal["power_of_choice"] = "power_of_choice"
    candidates: Count = 1.0
    """Clients d that are drawn in proportion to their samples: a number, or a share of the members; never fewer than are chosen."""

    def faults(self, homes: Mapping[str, Sequence[str]]) -> Iterable[Fault]:
        yield from super().faults(homes)
        yield from too_many("candidates", self.candidates, homes)
        for names in homes.values():
            few, wanted = counted(self.candidates, len(names)), self.asked(len(names))
            if few < wanted:
                yield Fault("candidates", f"{few} are drawn of {len(names)} clients, of whom {wanted} are to be chosen")
                return

    def start(self, roster: Roster) -> Selector:
        return _Choice(self, roster)


class _Choice(Selector):
    def __init__(self, options: PowerOfChoice, roster: Roster) -> None:
        self.options, self.roster = options, roster
        #: Client -> its mean loss when it last took part.
        self._losses: dict[str, float] = {}

    def observe(self, report: Report) -> None:
        self._losses[report.name] = float(np.mean(report.losses))

    def choose(self, candidates: Candidates) -> dict[str, float]:
        names, wanted = candidates.names, self.options.asked(candidates.members)
        few = max(wanted, counted(self.options.candidates, candidates.members))
        some = [
            names[i] for i in drawn(candidates.random, valued(names, self.roster.samples.__getitem__), few).tolist()
        ]
        some.sort(key=lambda name: -self._losses.get(name, math.inf))
        return alike(some[:wanted])
