"""When a run writes down what it needs to be gone on with.

Tested in tests/run/test_checkpoints.py.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, TypeAdapter, WithJsonSchema

from ..base.registry import Options
from ..base.units import MOST_COUNT, MOST_TIME, bounded

_TIME: TypeAdapter[float] = TypeAdapter(
    Annotated[float, *bounded("time", 1.0, MOST_TIME, "more often costs more than it saves")]
)


def _stated(value: Any) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, int):
        if isinstance(value, bool) or not 1 <= value <= MOST_COUNT:
            raise ValueError("must be a whole number of rounds from 1, or a time such as '10 min'")
        return value
    return _TIME.validate_python(value)


def _schema() -> dict[str, Any]:
    rounds = {"type": "integer", "minimum": 1, "maximum": MOST_COUNT}
    return {"anyOf": [rounds, *_TIME.json_schema()["anyOf"], {"type": "null"}]}


#: A whole number of rounds, or host time (s).
Every = Annotated[int | float | None, PlainValidator(_stated), WithJsonSchema(_schema())]


class CheckpointOptions(Options):
    """Checkpoints of a run: with one, `elsa-sim resume` need not repeat the arithmetic before it; not in timing mode."""

    every: Every = 600.0
    """A whole number: so many rounds (evaluations), and the last ones stay when the run has ended. A time, such as ``10 min``: at
    the end of a round, if so much time has passed on this machine; removed when the run has ended. null: none."""
    keep: int = Field(1, ge=1, le=1000)
    """How many, the latest ones."""

    @property
    def spoken(self) -> str:
        """How often and for how long, in words."""
        if self.every is None:
            return "none"
        kept = "the last one" if self.keep == 1 else f"the last {self.keep}"
        if isinstance(self.every, int):
            rounds = "round" if self.every == 1 else f"{self.every} rounds"
            return f"every {rounds}; {kept} stay{'s' if self.keep == 1 else ''} when the run has ended"
        time = f"{self.every / 60.0:g} min" if self.every >= 60.0 else f"{self.every:g} s"
        return f"every {time} on this machine, {kept}; removed when the run has ended"

    @property
    def lasting(self) -> bool:
        """Whether the last ones stay when the run has ended."""
        return isinstance(self.every, int)
