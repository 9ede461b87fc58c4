"""The members that are expected to be done first, or those with the quickest link or device.

What is expected follows from bandwidths, latencies, speeds and constant slowdowns, with nobody else on the links; random slowdowns,
codecs and framing are not part of it. Wireless clients go by their rates when they are chosen. Always the same clients take part
where nothing changes, so what slow ones hold is not learned. Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from .base import Candidates, CohortSelection, Prospect, Roster, Selector, alike, valued


class Fastest(CohortSelection):
    """The clients that are expected to take least time."""

    random: ClassVar[bool] = False
    kind: Literal["fastest"] = "fastest"
    by: Literal["time", "bandwidth", "compute"] = "time"
    """Least time for the whole share of a round, for its download and upload, or for its local steps."""

    def start(self, roster: Roster) -> Selector:
        return _Fastest(self, roster)

    def seconds(self, prospect: Prospect) -> float:
        """What counts of an expected time (s)."""
        if self.by == "time":
            return prospect.time
        return prospect.download + prospect.upload if self.by == "bandwidth" else prospect.work


class _Fastest(Selector):
    def __init__(self, options: Fastest, roster: Roster) -> None:
        self.options, self.roster = options, roster

    def choose(self, candidates: Candidates) -> dict[str, float]:
        times = valued(candidates.names, lambda name: self.options.seconds(self.roster.prospect(name)))
        first = np.argsort(times, kind="stable")[: self.options.asked(candidates.members)]
        return alike(candidates.names[i] for i in first.tolist())
