"""Qwen 2 and 2.5. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .llama import COMMON, Llama

if TYPE_CHECKING:
    from ..architecture import Architecture


class Qwen2(Llama):
    """Qwen 2 (arXiv:2407.10671): queries, keys and values have biases."""

    model_type = "qwen2"
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32, "max_position_embeddings": 32768,
        "use_sliding_window": False, "sliding_window": None, "max_window_layers": 28, "layer_types": None,
    }  # fmt: skip
    whole_heads = False

    @classmethod
    def biases(cls, shape: Architecture) -> tuple[bool, bool, bool]:
        return True, False, False
