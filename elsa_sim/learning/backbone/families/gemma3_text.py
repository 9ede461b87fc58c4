"""Gemma 3, text only. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Shape
from .gemma2 import COMMON, Gemma2

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")


class Gemma3(Gemma2):
    """Gemma 3 (arXiv:2503.19786), text only: windows with rotary positions of their own; queries and keys have norms."""

    model_type = "gemma3_text"
    kept = Kept(0, 4, 3, normed=True)
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "vocab_size": 262208, "max_position_embeddings": 131072, "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
    }  # fmt: skip
    attention = "sdpa"

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        own: dict[str, Shape] = {f"self_attn.{each}_norm.weight": (shape.head,) for each in ("q", "k")}
        return super().norms(shape, index) | own

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        kinds = sorted(set(self.config.layer_types))
        rotary = {kind: self.base.rotary_emb(hidden, positions, kind) for kind in kinds}
        return {**Family.context(self, hidden, mask), "position_ids": positions, "position_embeddings": rotary}

    def layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        rotary = context["position_embeddings"][self.config.layer_types[index]]
        return super().layer(index, hidden, {**context, "position_embeddings": rotary})
