"""Clients: who they are, what they hold, and which parts of the model are theirs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..learning.backbone.options import Part
    from ..learning.misbehaviour.base import MisbehavingClient
    from ..learning.splits.pattern import StepPattern
    from ..learning.tasks.data import Batches


@dataclass(eq=False)
class Client:
    """One client: its node, its samples, and the edge server that it belongs to now."""

    index: int
    name: str
    edge: str
    samples: npt.NDArray[np.int64]
    batches: Batches
    misbehaviour: MisbehavingClient | None = None
    """What it does otherwise than it should."""
    assigned: bool = False
    """Whether a protocol gave it its edge server; that goes before the one of its station."""

    @property
    def weight(self) -> float:
        """Its share in aggregation before normalisation: its number of samples |D_n|."""
        return float(len(self.samples))


@dataclass(eq=False, kw_only=True)
class SplitClient(Client):
    """A client whose model is cut, after the step ``pattern`` of its protocol."""

    pattern: StepPattern
    parts: tuple[Part, ...]
    """All parts of the model, from the input to the head."""

    @cached_property
    def own(self) -> tuple[Part, ...]:
        """The parts that it holds and trains."""
        return self.pattern.held(self.parts, "client")

    @cached_property
    def served(self) -> Part:
        """The part that its server trains."""
        (part,) = self.pattern.held(self.parts, "server")
        return part

    @cached_property
    def cuts(self) -> tuple[int, int]:
        """Transformer layers below the first cut, and below the second (all of them where there is none)."""
        return self.served.start, self.served.stop
