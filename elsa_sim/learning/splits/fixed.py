"""The same cut for everyone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Cut, Resources, SplitPolicy, too_many


class FixedSplit(SplitPolicy):
    """The same p and q for every client."""

    kind: Literal["fixed"] = "fixed"
    p: int = Field(1, ge=1)
    """Layers of Part 1, with the embeddings, on the client."""
    q: int = Field(1, ge=1)
    """Layers of Part 3, with the task head, on the client."""

    def check(self, layers: int) -> None:
        if self.p + self.q >= layers:
            raise too_many(self.p, self.q, layers)

    def cuts(self, resources: Resources) -> dict[str, Cut]:
        return {client.name: Cut(self.p, self.q, "fixed") for client in resources.clients}
