"""The same cut for everyone.

Tested in tests/learning/splits/test_policies.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...base.units import MOST_COUNT
from .base import Cut, Resources, SplitPolicy, tail, too_many
from .pattern import StepPattern


class FixedSplit(SplitPolicy):
    """The same p and q for every client."""

    kind: Literal["fixed"] = "fixed"
    p: int = Field(1, ge=1, le=MOST_COUNT)
    """Layers of Part 1, with the embeddings, on the client."""
    q: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Layers of Part 3, with the task head, on the client; 1 by default. Without meaning where the server has the head."""

    def check(self, layers: int, pattern: StepPattern) -> None:
        q = tail(self.q, pattern)
        if self.p + q >= layers:
            raise too_many(self.p, q, layers)

    def cuts(self, resources: Resources) -> dict[str, Cut]:
        q = tail(self.q, resources.pattern)
        return {client.name: Cut(self.p, q, "fixed") for client in resources.clients}
