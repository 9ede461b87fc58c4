"""Trained inversion: a small decoder from the payloads of a text to its tokens, trained on public text; see ``decoder``.

Tested in tests/privacy/test_attacks.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ...base.lazy import lazy
from ...base.units import MOST_COUNT, MOST_FACTOR
from ..base import Intercepted, Knowledge, PrivacyAttack, numbered_anew

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


class Inversion(PrivacyAttack):
    """A small transformer from the payloads of a text to its tokens, trained on public text."""

    reads_texts: ClassVar[bool] = True
    kind: Literal["inversion"] = "inversion"
    steps: int | None = Field(None, ge=1, le=MOST_COUNT)
    """Training steps of 32 public texts each; default: ``privacy.inversion.steps``."""
    width: int | None = Field(None, ge=8, le=MOST_COUNT)
    """Hidden size; default: ``privacy.inversion.width``."""
    lr: float | None = Field(None, gt=0, le=MOST_FACTOR)
    """Learning rate of AdamW, falling to zero; default: ``privacy.inversion.lr``."""

    def completed(self, section: Any) -> Inversion | None:
        if section.inversion is None:
            return None
        open_ones = {name for name in type(section.inversion).model_fields if getattr(self, name) is None}
        return self.model_copy(update={name: getattr(section.inversion, name) for name in open_ones})

    def recover(self, knowledge: Knowledge, seen: Sequence[Intercepted]) -> list[Tensor | None]:
        from ..decoder import invert

        assert self.steps is not None
        assert self.width is not None
        assert self.lr is not None
        public = knowledge.public
        payload, texts = torch.cat([each.payload for each in seen]), numbered_anew([each.texts for each in seen])
        seed = knowledge.streams.integer("privacy", self.kind)
        found = invert(public.payload, public.tokens, public.texts, payload, texts,
                       steps=self.steps, width=self.width, lr=self.lr, seed=seed)  # fmt: skip
        return list(torch.split(found, [len(each.payload) for each in seen]))
