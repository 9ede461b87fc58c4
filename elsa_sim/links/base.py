"""The family of link models: how flows that compete for channels share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base.registry import Component

Rates = NDArray[np.float64]


class LinkModel(Component):
    """How flows share the channels of their routes: a pure function from routes and capacities to rates."""

    family: ClassVar[str] = "link_model"
    store_and_forward: ClassVar[bool] = False
    """Whether a message crosses its links one after another, each time as a whole, instead of all at once."""
    shares: ClassVar[bool] = True
    """Whether flows on one channel limit each other."""

    def allocate(self, routes: Sequence[Sequence[int]], capacities: Rates) -> Rates:
        """The rate of every flow (bit/s).

        ``routes[f]`` are the indices of the channels that flow f crosses, in order (a channel may occur twice: it then
        carries the flow twice); flows stand in the order in which they entered. ``capacities`` is the bandwidth of
        every channel (bit/s, 0 during an outage). The rate of a flow without channels is infinite.
        """
        raise NotImplementedError
