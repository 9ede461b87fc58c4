"""What an attack on privacy is: from what an honest-but-curious server sees, it tells which tokens a client has.

The attacker knows the backbone, the aggregated adapters, public text, the codecs and every shared seed, but no client's
secret. Adding an attack is adding one file: a subclass of :class:`PrivacyAttack` with ``kind``, its options as fields, and
``guess``; the share of tokens that it recovers is a column of the results.
Tested in tests/privacy/test_attacks.py and tests/privacy/test_audit.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..base.lazy import lazy
from ..base.registry import Component
from ..base.streams import Streams
from .known import Known

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@dataclass(frozen=True)
class View:
    """Tokens, the numbers of their texts, clean states and payloads as the server reads them; one row per token."""

    tokens: Tensor
    texts: Tensor
    clean: Tensor
    payload: Tensor

    def take(self, rows: Tensor) -> View:
        """The rows where ``rows`` is true."""
        return View(self.tokens[rows], self.texts[rows], self.clean[rows], self.payload[rows])

    @classmethod
    def joined(cls, views: Sequence[View]) -> View:
        """All rows, texts numbered anew."""
        texts = numbered_anew([view.texts for view in views])
        tokens, clean, payload = ([getattr(v, name) for v in views] for name in ("tokens", "clean", "payload"))
        return cls(torch.cat(tokens), texts, torch.cat(clean), torch.cat(payload))


def numbered_anew(texts: Sequence[Tensor]) -> Tensor:
    """Numbers of texts of several views, one after another, so that no two texts have one number."""
    starts = np.cumsum([0, *(int(each.max()) + 1 for each in texts[:-1])])
    return torch.cat([each + int(start) for each, start in zip(texts, starts, strict=True)])


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What the attacker can find out by itself about one cut: public text, through its own wire, with its tokens."""

    public: View
    rank: int
    """Directions that a client's secret may turn."""
    streams: Streams
    """Whatever an attack draws is drawn from one of these, named ``privacy`` and its kind."""
    turned: Tensor | None = None
    """These directions ``[D, r]``, where they are known; else they are like those of public text."""

    @cached_property
    def known(self) -> Known:
        """Public payloads by their tokens."""
        return Known.of(self.public.payload, self.public.tokens)


@dataclass(frozen=True, eq=False)
class Intercepted:
    """What the attacker has of one client: payloads [n, D] of tokens, and the numbers [n] of their texts."""

    payload: Tensor
    texts: Tensor
    pairs: tuple[Tensor, Tensor] | None = None
    """Of texts that it knows in clear, [m, D] each: what they are on its own wire, and what the client sent."""


class PrivacyAttack(Component):
    """A way to tell tokens from payloads."""

    family: ClassVar[str] = "privacy_attack"
    #: Whether it looks at whole texts, so that ROUGE-L says how much of them it recovers.
    reads_texts: ClassVar[bool] = False
    #: Whether it goes by texts of a client that are known in clear.
    needs_pairs: ClassVar[bool] = False
    kind: str

    def completed(self, section: Any) -> PrivacyAttack | None:
        """The attack with what the ``privacy`` section says where it leaves something open; ``None``: it is left out."""
        return self

    def guess(self, knowledge: Knowledge, seen: Intercepted) -> Tensor | None:
        """The tokens [n] of one client; ``None`` where there is nothing to go by."""
        raise NotImplementedError

    def recover(self, knowledge: Knowledge, seen: Sequence[Intercepted]) -> list[Tensor | None]:
        """The tokens of all clients with the same cut."""
        return [self.guess(knowledge, each) for each in seen]
