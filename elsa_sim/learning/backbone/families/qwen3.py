"""Qwen 3. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .base import Kept, Shape
from .llama import Llama
from .qwen2 import Qwen2

if TYPE_CHECKING:
    from ..architecture import Architecture


class Qwen3(Llama):
    """Qwen 3 (arXiv:2505.09388): queries and keys are normalised, head by head."""

    model_type = "qwen3"
    kept = Kept(0, 2, 3, normed=True)
    fields: ClassVar[dict[str, Any]] = Qwen2.fields | {"head_dim": 128, "attention_bias": False}
    whole_heads = False

    @classmethod
    def biases(cls, shape: Architecture) -> tuple[bool, bool, bool]:
        return shape.attention_bias, shape.attention_bias, False

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        own: dict[str, Shape] = {f"self_attn.{each}_norm.weight": (shape.head,) for each in ("q", "k")}
        return super().norms(shape, index) | own
