"""The ``unreliable`` section of a scenario: which clients misbehave (are Byzantine), and how.

Who it is comes from a random stream of its own. Tested in tests/learning/misbehaviour/test_base.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from ...base.choices import member_of
from ...base.errors import Fault, InputFaults
from ...base.registry import Items, Options
from ...base.streams import Streams
from ...base.units import MOST_COUNT, MOST_FACTOR
from .base import Misbehaviour
from .free_rider import FreeRider
from .label_flip import LabelFlip
from .noise import Noise
from .stale import Stale

AnyMisbehaviour = Annotated[SerializeAsAny[Misbehaviour], member_of(Misbehaviour)]
#: The attacks of clients that are drawn, where nobody says which.
USUAL: tuple[Misbehaviour, ...] = (LabelFlip(), Noise(), Stale(), FreeRider())


class UnreliableOptions(Options):
    """Misbehaving (Byzantine) clients."""

    share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of all clients that are drawn at random; those named in ``clients`` count."""
    kinds: Items[tuple[AnyMisbehaviour, ...]] = Field(USUAL, min_length=1)
    """What those that are drawn do, in turn."""
    clients: dict[str, AnyMisbehaviour] = Field(default_factory=dict)
    """What named clients do."""
    noise: Literal["added", "replaced"] = "added"
    """Whether noise senders add noise to what they trained, or send noise alone, where their kind does not say."""
    noise_scale: float = Field(1.0, gt=0.0, le=MOST_FACTOR)
    """Standard deviation of the noise, as a multiple of the root mean square of the tensor that was trained, likewise."""
    stale_uploads: int = Field(5, ge=1, le=MOST_COUNT)
    """Stale replayers send the adapters of so many uploads ago, likewise; until then, their first."""

    def of(self, clients: Sequence[str], streams: Streams) -> dict[str, Misbehaviour]:
        """Client -> what it does, of those that misbehave. A larger share adds clients to those of a smaller one.

        Raises:
            InputFaults: a named client does not exist.
        """
        unknown = [name for name in self.clients if name not in clients]
        if unknown:
            valid = ", ".join([*clients[:3], *(["..."] if len(clients) > 3 else [])])
            raise InputFaults(
                [Fault(f"clients.{name}", f"there is no client {name!r}; valid: {valid}") for name in unknown]
            )
        others = [name for name in clients if name not in self.clients]
        order = streams.numpy("unreliable").permutation(len(others))
        count = max(0, round(self.share * len(clients)) - len(self.clients))
        drawn = {others[i]: self.kinds[n % len(self.kinds)] for n, i in enumerate(order[:count])}
        found = {**self.clients, **drawn}
        return {name: self._completed(found[name]) for name in clients if name in found}

    def idle(self) -> list[str]:
        """Stated options that complete nobody's; none where nobody misbehaves: that is a study's point of comparison."""
        behaviours = [*self.clients.values(), *(self.kinds if self.share > 0 else ())]
        own = {"share", "kinds", "clients"}
        stated = [name for name in type(self).model_fields if name in self.stated - own]
        return [
            name for name in stated if behaviours and all(getattr(each, name, 0) is not None for each in behaviours)
        ]

    def _completed(self, behaviour: Misbehaviour) -> Misbehaviour:
        """``behaviour`` with the section's options where it leaves out its own of the same name."""
        shared: dict[str, Any] = {
            name: getattr(self, name)
            for name in type(behaviour).model_fields
            if name in type(self).model_fields and getattr(behaviour, name) is None
        }
        return behaviour.model_copy(update=shared)
