"""Mistral. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .llama import COMMON, Llama

if TYPE_CHECKING:
    from ..architecture import Architecture


class Mistral(Llama):
    """Mistral (Jiang et al., arXiv:2310.06825): a window in every layer, where the configuration has one."""

    model_type = "mistral"
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072, "head_dim": None,
        "sliding_window": 4096,
    }  # fmt: skip
    whole_heads = False

    @classmethod
    def biases(cls, shape: Architecture) -> tuple[bool, bool, bool]:
        return False, False, False
