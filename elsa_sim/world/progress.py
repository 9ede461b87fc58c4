"""How far a run is: local steps that are done, and what is told to whoever looks on."""

from __future__ import annotations

from collections.abc import Mapping

import simpy

from .round_end import RoundEnd, RoundObserver


class Observer:
    """Is told what happens while a run goes on; the default does nothing."""

    def progressed(self, now: float, done: int, total: int) -> None:
        """``done`` of ``total`` local steps are over at simulated time ``now`` (s)."""

    def evaluated(self, now: float, round: int, metrics: Mapping[str, float]) -> None:
        """An evaluation of ``round`` gave ``metrics``."""


class Progress(RoundObserver):
    """Counts local steps, and tells an observer of them and of every evaluation."""

    def __init__(self, env: simpy.Environment, observer: Observer, total: int) -> None:
        self.env, self.observer = env, observer
        self.done = 0
        """Local steps that are over, or left out."""
        self.total = total
        """Local steps of the whole run, as its protocol announces them."""

    def advance(self, steps: int = 1) -> None:
        """Count ``steps`` more."""
        self.done += steps
        self.observer.progressed(float(self.env.now), min(self.done, self.total), self.total)

    def ended(self, end: RoundEnd) -> None:
        self.observer.evaluated(end.now, end.round, end.metrics)
