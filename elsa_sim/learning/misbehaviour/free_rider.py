"""Free riding: a client sends what it received and computes nothing.

Tested in tests/learning/misbehaviour/test_base.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from ..execution.work import Ref
from .base import Misbehaviour


class FreeRider(Misbehaviour):
    """Sends what it received and computes nothing."""

    trains: ClassVar[bool] = False
    kind: Literal["free_rider"] = "free_rider"

    def send(self, received: Ref, trained: Ref) -> Ref:
        return received
