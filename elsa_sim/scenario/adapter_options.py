"""Which trained adapters a run keeps in its run directory.

Tested in tests/run/test_adapters.py.
"""

from __future__ import annotations

from pydantic import Field

from ..base.registry import Options
from ..base.units import MOST_COUNT


class AdapterOptions(Options):
    """Which trained adapters a run keeps in its run directory, as peft saves them; timing mode has none."""

    final: bool = True
    """Keep those of the last evaluation, in `adapters/`."""
    best: bool = False
    """Keep those of the evaluation with the highest accuracy (language modelling: the lowest loss), in `adapters/best/`."""
    every: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Keep those of each evaluation after this many, in `adapters/round-ROUND/`."""
    clients: bool = False
    """Keep what each client trained last, before codecs and misbehaviour, in `adapters/clients/NAME/`."""

    @property
    def kept(self) -> bool:
        """Whether any are."""
        return self.final or self.best or self.every is not None or self.clients
