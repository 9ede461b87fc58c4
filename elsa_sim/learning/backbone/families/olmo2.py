"""OLMo 2. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .base import Kept, Shape
from .llama import COMMON, Llama

if TYPE_CHECKING:
    from ..architecture import Architecture


class Olmo2(Llama):
    """OLMo 2 (arXiv:2501.00656): norms behind attention and feed-forward block, not before them, and of queries and keys."""

    model_type = "olmo2"
    kept = Kept(0, 2, 3, before=False, normed=True)
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "vocab_size": 50304, "rms_norm_eps": 1e-5, "pad_token_id": 1, "eos_token_id": 50279, "attention_bias": False,
    }  # fmt: skip
    whole_heads = False
    readers = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
    norm_names = ("post_attention_layernorm", "post_feedforward_layernorm")

    @classmethod
    def biases(cls, shape: Architecture) -> tuple[bool, bool, bool]:
        return shape.attention_bias, shape.attention_bias, False

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        own: dict[str, Shape] = {
            "self_attn.q_norm.weight": (shape.heads * shape.head,),
            "self_attn.k_norm.weight": (shape.key_heads * shape.head,),
        }
        return super().norms(shape, index) | own
