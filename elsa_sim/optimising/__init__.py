"""Optimising a scenario's resources jointly: its problem, what the optimiser and the baselines make of it, and the scenario
that plays the answer."""

from .comparison import compare
from .problem import problem, stated
from .study import Choice, Found, Sweep, compared

__all__ = ["Choice", "Found", "Sweep", "compare", "compared", "problem", "stated"]
