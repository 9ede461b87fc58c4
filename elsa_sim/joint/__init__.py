"""The joint optimisation of a split federated system over a wireless network: subchannels, power, cut and rank.

A :class:`Problem` states what things cost in s and bits, whoever counted them; :func:`delay` is the closed form of a
:class:`Decision`, and :func:`optimise` looks for a good one. No clock, no tensors: pure functions over NumPy arrays.
"""

from .delay import PARTS, Breakdown, delay
from .optimise import Held, Result, Step, optimise
from .problem import Allocation, Decision, Load, Pair, Problem, Uplink

__all__ = [
    "PARTS",
    "Allocation",
    "Breakdown",
    "Decision",
    "Held",
    "Load",
    "Pair",
    "Problem",
    "Result",
    "Step",
    "Uplink",
    "delay",
    "optimise",
]
