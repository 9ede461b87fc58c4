"""What ``state.json`` of a checkpoint says, checked when it is read: whoever edited it has no checkpoint, and no traceback.

Tested in tests/run/test_checkpoints.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Events(_Part):
    """The event table until then."""

    rows: Count
    trace_sha256: str


class Host(_Part):
    """Host time of all processes until then, of each evaluation, and of the arithmetic (s)."""

    wall_s: float = 0.0
    math_s: float = 0.0
    evaluations_s: list[float] = []


class Readings(_Part):
    """How much of ``readings.jsonl`` is the checkpoint's, and its SHA-256."""

    size: Count
    sha256: str


class Arithmetic(_Part):
    """A snapshot but for its values; see :mod:`..learning.execution.journal`."""

    made: Count
    read: Count
    pending: list[Count]
    again: list[list[Count]]


class Run(_Part):
    """Which run it is of, and where it was."""

    round: Count
    now_s: float
    scenario: str
    inputs: dict[str, str]
    versions: dict[str, str]
    events: Events
    host: Host


class State(Run):
    """The whole."""

    format: Literal[1] = 1
    readings: Readings
    shards: list[str]
    """SHA-256 of each file of values."""
    arithmetic: Arithmetic
    forms: list[Any]
    values: list[tuple[Count, Count, list[Any]]]
    """Number of the handle, number of its form, where its tensors are."""
