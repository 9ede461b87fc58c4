"""The ``privacy`` section of a scenario: what is measured at the end of a run, and against which attackers."""

from __future__ import annotations

from pydantic import Field, SerializeAsAny

from ..base.registry import Items, Options
from ..codecs.base import Codec


class InversionOptions(Options):
    """The trained attacker: a small transformer from payloads to tokens."""

    steps: int = Field(400, ge=1)
    """Training steps of 32 public texts each."""
    width: int = Field(128, ge=8)
    """Hidden size."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate of AdamW, falling to zero."""


class PrivacyOptions(Options):
    """Attacks on what clients send up at the first cut, with the adapters of the end of the run."""

    tokens: int = Field(4000, ge=1)
    """Private tokens that are attacked, about; they are those of the clients' own training texts, dealt evenly."""
    known_texts: int = Field(16, ge=0)
    """Texts of each client that the attacker knows in clear (pairs for Procrustes); they are not scored."""
    rank: int = Field(8, ge=1)
    """Principal directions that the complement attack leaves out, where no `ssop` in the chain says how many."""
    inversion: InversionOptions | None = InversionOptions()
    """The trained attacker; null leaves it out."""
    under: Items[tuple[Items[tuple[SerializeAsAny[Codec], ...]], ...]] = ()
    """Further activation chains to attack besides none and the scenario's own, on the same adapters."""
