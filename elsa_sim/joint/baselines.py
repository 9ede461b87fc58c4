"""What the optimiser is compared with: each of the four decisions at random or equal, one alone or all of them.

Alone, everything else is optimised: what a baseline loses is then what that decision is worth. Random subchannels: one
for each client, then each other one to anybody (both uplinks). Equal power: every client's own, evenly, scaled down to the
total. Random cut and rank: uniform over those that fit the memory.

Tested in tests/joint/test_exhaustive.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ..wireless.allocation import Owners, Random
from .optimise import Held, Result, optimise
from .problem import Problem, Uplink


def _owners(link: Uplink, random: np.random.Generator) -> Owners:
    return Random().allocate(link.demand(np.ones(len(link.gain))), random)


def _subchannels(problem: Problem, random: np.random.Generator) -> Held:
    return Held(main=_owners(problem.main, random), fed_server=_owners(problem.fed_server, random))


def _power(problem: Problem, random: np.random.Generator) -> Held:
    return Held(even=True)


def _cut(problem: Problem, random: np.random.Generator) -> Held:
    return Held(cut=int(random.choice(sorted({cut for cut, _ in problem.loads}))))


def _rank(problem: Problem, random: np.random.Generator) -> Held:
    return Held(rank=int(random.choice(sorted({rank for _, rank in problem.loads}))))


def _all(problem: Problem, random: np.random.Generator) -> Held:
    owners = _subchannels(problem, random)
    cut, rank = sorted(problem.loads)[int(random.integers(len(problem.loads)))]
    return Held(owners.main, owners.fed_server, True, cut, rank)


#: Name of a baseline -> what it holds.
BASELINES: Mapping[str, Callable[[Problem, np.random.Generator], Held]] = MappingProxyType({
    "random subchannels": _subchannels, "equal power": _power, "random cut": _cut, "random rank": _rank,
    "all at random": _all,
})  # fmt: skip


def baseline(name: str, problem: Problem, random: np.random.Generator) -> Result:
    """What this baseline decides; ``random`` draws what is at random."""
    return optimise(problem, held=BASELINES[name](problem, random))
