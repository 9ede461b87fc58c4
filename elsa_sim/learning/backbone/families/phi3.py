"""Phi-3 and Phi-4. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .base import Linear
from .llama import COMMON, Llama

if TYPE_CHECKING:
    from ..architecture import Architecture


class Phi3(Llama):
    """Phi-3 (arXiv:2404.14219): queries, keys and values in one module, and so the two that lead into the feed-forward block."""

    model_type = "phi3"
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "resid_pdrop": 0.0,
        "embd_pdrop": 0.0, "sliding_window": None, "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000,
    }  # fmt: skip
    whole_heads = False
    targets = ("qkv_proj",)

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i, q, k = shape.hidden, shape.inner, shape.heads * shape.head, shape.key_heads * shape.head
        return [
            Linear("self_attn.o_proj", q, d, "out", bias=False),
            Linear("self_attn.qkv_proj", d, q + 2 * k, "qkv", bias=False),
            Linear("mlp.gate_up_proj", d, 2 * i, "up", bias=False),
            Linear("mlp.down_proj", i, d, "down", bias=False),
        ]
