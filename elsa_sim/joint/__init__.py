"""The joint optimisation of a split federated system over a wireless network: subchannels, power, cut and rank.

A :class:`Problem` states what things cost in s and bits, whoever counted them; :func:`delay` is the closed form of a
:class:`Decision`, and :func:`optimise` looks for a good one. No clock, no tensors: pure functions over NumPy arrays.
"""

from ..wireless.uplink import Allocation
from .baselines import BASELINES, baseline
from .delay import PARTS, Breakdown, delay
from .exhaustive import exhaustive
from .optimise import Held, Result, Step, optimise
from .problem import Decision, Load, Pair, Problem, Uplink

__all__ = [
    "BASELINES",
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
    "baseline",
    "delay",
    "exhaustive",
    "optimise",
]
