"""A route for connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Road:
    """A route of one link that never changes."""

    round_trip: float = 0.1
    bandwidth: float = 2e7

    def narrowest(self) -> tuple[float, str]:
        return self.bandwidth, "a>b"

    def widest(self) -> float:
        return self.bandwidth

    def sending(self, size: float) -> float:
        return 8.0 * size / self.bandwidth if self.bandwidth else 0.0
