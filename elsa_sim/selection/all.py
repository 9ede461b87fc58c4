"""Everyone takes part in every round.

Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Candidates, Roster, Selection, Selector, alike


class All(Selection):
    """All members take part in every round."""

    everyone: ClassVar[bool] = True
    random: ClassVar[bool] = False
    kind: Literal["all"] = "all"

    def start(self, roster: Roster) -> Selector:
        return _All()


class _All(Selector):
    def choose(self, candidates: Candidates) -> dict[str, float]:
        return alike(candidates.names)
