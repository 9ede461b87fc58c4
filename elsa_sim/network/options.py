"""What a scenario may say about the network as a whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SerializeAsAny

from ..links import LinkModel, MaxMin
from ..registry import Options
from ..units import Size


def _resolve(value: Any) -> Any:
    """A link model from its name, or a mapping with its ``kind``."""
    if isinstance(value, LinkModel):
        return value
    given = {"kind": value} if isinstance(value, str) else value
    kind = given.get("kind") if isinstance(given, dict) else None
    model = LinkModel.members.get(kind) if isinstance(kind, str) else None
    if model is None:
        valid = ", ".join(sorted(LinkModel.members))
        raise ValueError(f"expected a link model, one of {valid}; got {str(kind or value)[:60]!r}")
    return model.model_validate(given)


Model = Annotated[SerializeAsAny[LinkModel], BeforeValidator(_resolve)]


class NetworkOptions(Options):
    """How messages share the network."""

    model: Model = MaxMin()
    """Link model: ``max-min``, ``equal-share``, ``fifo``, ``ideal``, or a mapping with ``kind``."""
    resolve: Literal["touched", "all"] = "touched"
    """``touched``: an event shares anew only what it touches (max-min); ``all``: everything, for comparison."""
    header: Size = 40.0
    """Bytes added to every message: those of one TCP/IPv4 header. The engine does not add them, the sender does."""
