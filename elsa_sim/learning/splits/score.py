"""More layers on clients with more resources (ELSA, arXiv:2601.13824).

The paper's: the split follows a client's compute, memory and link. Our reading: each of the three is taken over the
best client's, the score s_n in (0, 1] is their weighted mean, and p_n = p_min + round(s_n (p_max - p_min)), less where Parts 1
and 3 do not fit the client's memory. Does not model: the load of the edge server; ``latency`` does.
Tested in tests/learning/splits/test_policies.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...base.errors import Fault, InputFaults
from ...base.registry import Options
from ...base.units import MOST_COUNT, MOST_FACTOR
from .base import ClientResources, Cut, Resources, SplitPolicy, no_room, tail, too_many
from .pattern import StepPattern


class ScoreWeights(Options):
    """What counts how much in the score."""

    compute: float = Field(1.0, ge=0, le=MOST_FACTOR)
    """Effective speed of the device."""
    memory: float = Field(1.0, ge=0, le=MOST_FACTOR)
    """Memory of the device."""
    rate: float = Field(1.0, ge=0, le=MOST_FACTOR)
    """Rate of the way to the server and back."""


class ScoreSplit(SplitPolicy):
    """p from a score of the client's compute, memory and link rate; the same q for every client."""

    kind: Literal["score"] = "score"
    p_min: int = Field(1, ge=1, le=MOST_COUNT)
    """Layers of Part 1 at least."""
    p_max: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Layers of Part 1 at most; by default all but one layer for the server and q."""
    q: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Layers of Part 3, with the task head, on the client; 1 by default. Without meaning where the server has the head."""
    weights: ScoreWeights = ScoreWeights()
    """Weights of the three resources; if all are 0, every client gets p_min."""

    def check(self, layers: int, pattern: StepPattern) -> None:
        if self.p_max is not None and self.p_max < self.p_min:
            raise InputFaults([Fault("p_max", f"{self.p_max} is less than p_min, {self.p_min}")])
        most = self.p_min if self.p_max is None else self.p_max
        q = tail(self.q, pattern)
        if most + q >= layers:
            raise too_many(most, q, layers, "p_min" if self.p_max is None else "p_max")

    def cuts(self, resources: Resources) -> dict[str, Cut]:
        q = tail(self.q, resources.pattern)
        most = resources.layers - q - 1 if self.p_max is None else self.p_max
        best = [max(values) for values in zip(*map(_resources, resources.clients), strict=True)]
        found, narrow = {}, []
        for client in resources.clients:
            shares = [value / top for value, top in zip(_resources(client), best, strict=True)]
            score = self._score(shares)
            wanted = p = self.p_min + round(score * (most - self.p_min))
            while p >= self.p_min and not resources.fits(client, p, q):
                p -= 1
            if p < self.p_min:
                narrow.append(client.name)
            parts = ", ".join(f"{n} {s:.2f}" for n, s in zip(("compute", "memory", "rate"), shares, strict=True))
            why = f"score {score:.2f} ({parts})" + (f"; memory bounds p {wanted} to {p}" if p < wanted else "")
            found[client.name] = Cut(p, q, why)
        if narrow:
            raise no_room(narrow, self.p_min, q)
        return found

    def _score(self, shares: list[float]) -> float:
        weights = (self.weights.compute, self.weights.memory, self.weights.rate)
        total = sum(weights)
        return sum(w * s for w, s in zip(weights, shares, strict=True)) / total if total else 0.0


def _resources(client: ClientResources) -> tuple[float, float, float]:
    return client.machine.speed, client.machine.memory, min(client.up, client.down)
