"""The family of link models: how flows that compete for channels share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base.registry import Component

Rates = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Flows:
    """The flows under way at one instant, in the order in which they entered: what a link model is told of them.

    More facts may be added in time, so a link model takes what it needs by name.
    """

    routes: Sequence[Sequence[int]]
    """``routes[f]`` are the indices of the channels that flow f crosses, in order. A channel may occur twice: it then
    carries the flow twice. A flow may also have a channel of its own, which caps its rate."""
    latencies: Rates
    """One-way latency of every flow's route, as its links state it (s): no jitter, no queues. Where messages are stored
    and forwarded, that of the hop which the flow crosses."""

    @property
    def round_trips(self) -> Rates:
        """Round-trip time of every flow's route without queues (s): a link is as long in both directions."""
        return 2.0 * self.latencies


class LinkModel(Component):
    """How flows share the channels of their routes: a pure function from flows and capacities to rates."""

    family: ClassVar[str] = "link_model"
    store_and_forward: ClassVar[bool] = False
    """Whether a message crosses its links one after another, each time as a whole, instead of all at once."""
    shares: ClassVar[bool] = True
    """Whether flows on one channel limit each other."""
    max_min: ClassVar[bool] = False
    """Whether the rates are those of plain max-min fairness, whatever the flows' latencies: the engine may then compute
    them incrementally, without calling ``allocate``. A subclass that allocates in its own way has to say so anew."""
    kind: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        first = next(each for each in cls.__mro__ if {"allocate", "max_min"} & vars(each).keys())
        if "max_min" not in vars(first):
            cls.max_min = False

    def allocate(self, flows: Flows, capacities: Rates) -> Rates:
        """The rate of every flow (bit/s).

        ``capacities`` is the bandwidth of every channel (bit/s, 0 during an outage). The rate of a flow without channels
        is infinite. Neither argument is written to.
        """
        raise NotImplementedError
