"""The ``privacy`` section of a scenario: what is measured at the end of a run, and against which attackers.

Tested in tests/privacy/test_audit.py.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SerializeAsAny, field_validator

from ..base.choices import member_of
from ..base.registry import Items, Options
from ..base.units import MOST_COUNT, MOST_FACTOR
from ..codecs.base import Codec
from .attacks.complement import Complement
from .attacks.discriminant import Discriminant
from .attacks.inversion import Inversion
from .attacks.nearest_mean import NearestMean
from .attacks.procrustes import Procrustes
from .base import PrivacyAttack

#: The attacks that are made where nobody says which.
USUAL: tuple[PrivacyAttack, ...] = (NearestMean(), Complement(), Discriminant(), Procrustes(), Inversion())
AnyAttack = Annotated[SerializeAsAny[PrivacyAttack], member_of(PrivacyAttack)]


class InversionOptions(Options):
    """The trained attacker: a small transformer from payloads to tokens."""

    steps: int = Field(400, ge=1, le=MOST_COUNT)
    """Training steps of 32 public texts each."""
    width: int = Field(128, ge=8, le=MOST_COUNT)
    """Hidden size."""
    lr: float = Field(2e-3, gt=0, le=MOST_FACTOR)
    """Learning rate of AdamW, falling to zero."""


class PrivacyOptions(Options):
    """Attacks on what clients send up at the first cut, with the adapters of the end of the run."""

    tokens: int = Field(4000, ge=1, le=MOST_COUNT)
    """Private tokens that are attacked, about; they are those of the clients' own training texts, dealt evenly."""
    known_texts: int = Field(16, ge=0, le=MOST_COUNT)
    """Texts of each client that the attacker knows in clear (pairs for Procrustes); they are not scored."""
    rank: int = Field(8, ge=1, le=MOST_COUNT)
    """Principal directions that the complement attack leaves out, where no `ssop` in the chain says how many."""
    inversion: InversionOptions | None = InversionOptions()
    """The trained attacker; null leaves it out."""
    under: Items[tuple[Items[tuple[SerializeAsAny[Codec], ...]], ...]] = ()
    """Further activation chains to attack besides none and the scenario's own, on the same adapters."""
    attacks: Items[tuple[AnyAttack, ...]] = Field(USUAL, min_length=1)
    """The attacks, each a column of the results; ``rank`` and ``inversion`` are theirs where they leave it open."""

    @field_validator("attacks")
    @classmethod
    def _each_once(cls, attacks: tuple[PrivacyAttack, ...]) -> tuple[PrivacyAttack, ...]:
        kinds = [attack.kind for attack in attacks]
        twice = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is given twice; each attack is one column of the results")
        return attacks
