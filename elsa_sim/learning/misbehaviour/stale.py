"""Stale replay: a client trains, and sends the adapters of some uploads ago.

Tested in tests/learning/misbehaviour/test_base.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...base.streams import Streams
from ...base.units import MOST_COUNT
from ..execution.work import Ref
from .base import Attack, Misbehaviour


class Stale(Misbehaviour):
    """Sends the adapters of some uploads ago; until then, its first."""

    kind: Literal["stale"] = "stale"
    stale_uploads: int | None = Field(None, ge=1, le=MOST_COUNT)
    """How many uploads ago; default: ``unreliable.stale_uploads``."""

    def start(self, client: str, streams: Streams) -> Attack:
        uploads: list[Ref] = []
        behind = 5 if self.stale_uploads is None else self.stale_uploads

        def send(received: Ref, trained: Ref, upload: bool) -> Ref:
            if upload:
                uploads[:] = [*uploads, trained][-behind - 1 :]
            return uploads[0] if uploads else trained

        return send
