"""What the optimiser is compared with: decisions at random or equal, one alone, those of the radio together, or all of them.

Whatever a baseline does not hold is optimised: what it loses is then what those decisions are worth. Random subchannels: one
for each client, then each other one to anybody (both uplinks). Equal power: every client's own, evenly, scaled down to the
total. Equal subchannels and power: subchannel i to client i mod K on both uplinks, so that numbers differ by one at most, and
equal power; cut and rank are those best for these. Random cut and rank: uniform over those that fit the memory.

Tested in tests/joint/test_exhaustive.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ..wireless.allocation import Allocator, Equal, Owners, Random
from .optimise import Held, Result, optimise
from .problem import Problem, Uplink


def _owners(allocator: Allocator, link: Uplink, random: np.random.Generator) -> Owners:
    return allocator.allocate(link.demand(np.ones(len(link.gain))), random)


def _subchannels(problem: Problem, random: np.random.Generator) -> Held:
    main, fed_server = (_owners(Random(), link, random) for link in (problem.main, problem.fed_server))
    return Held(main=main, fed_server=fed_server)


def _equal(problem: Problem, random: np.random.Generator) -> Held:
    main, fed_server = (_owners(Equal(), link, random) for link in (problem.main, problem.fed_server))
    return Held(main=main, fed_server=fed_server, even=True)


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
    "random subchannels": _subchannels, "equal power": _power, "equal subchannels, power": _equal,
    "random cut": _cut, "random rank": _rank, "all at random": _all,
})  # fmt: skip


def baseline(name: str, problem: Problem, random: np.random.Generator) -> Result:
    """What this baseline decides; ``random`` draws what is at random."""
    return optimise(problem, held=BASELINES[name](problem, random))
