"""Optimising a scenario's resources jointly: its problem, what the optimiser and the baselines make of it, and the scenario
that plays the answer."""

from .comparison import SYSTEMS, compare
from .problem import problem, stated

__all__ = ["SYSTEMS", "compare", "problem", "stated"]
