"""What a protocol is: plain SimPy generators over the verbs of the world, with its frozen options beside it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ..registry import Component

if TYPE_CHECKING:
    from ..world import World


class Protocol(Component):
    """A training system. ``run`` is its process; it ends when training ends."""

    family: ClassVar[str] = "protocol"
    kind: str
    rounds: int = Field(10, ge=1)
    """Number of rounds; an evaluation follows each."""
    local_steps: int = Field(5, ge=1)
    """Optimizer steps of a client between two aggregations."""
    lr: float = Field(2.0e-3, gt=0)
    """Learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    keep_optimizer: bool = True
    """Keep each client's optimizer moments when it takes over aggregated adapters (false: start them afresh)."""
    #: Whether the model is cut: the world then gives every client its (p, q).
    split: ClassVar[bool] = False

    def run(self, world: World) -> Generator[Any, Any, None]:
        """The protocol's main process."""
        raise NotImplementedError
