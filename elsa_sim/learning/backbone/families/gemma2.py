"""Gemma 2. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Kept
from .llama import Llama

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")

#: What the configurations of Gemma 2 and 3 have in common.
COMMON: dict[str, Any] = {
    "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192, "initializer_range": 0.02, "rms_norm_eps": 1e-6, "use_cache": True,
    "tie_word_embeddings": True, "rope_parameters": None, "attention_bias": False, "attention_dropout": 0.0,
    "query_pre_attn_scalar": 256, "sliding_window": 4096, "layer_types": None, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 1,
}  # fmt: skip


class Gemma2(Llama):
    """Gemma 2 (arXiv:2408.00118): norms on both sides, scaled embeddings, logits of attention and head that are capped."""

    model_type = "gemma2"
    kept = Kept(0, 4, 3, scores=2)
    fields: ClassVar[dict[str, Any]] = COMMON | {"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0}
    attention = "eager"  # the fused ones cannot cap
    readers = ("input_layernorm", "pre_feedforward_layernorm")
    norm_names = (
        "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
    )  # fmt: skip

    @classmethod
    def biases(cls, shape: Architecture) -> tuple[bool, bool, bool]:
        return shape.attention_bias, shape.attention_bias, False

    def predict(self, hidden: Tensor) -> Tensor:
        logits, cap = super().predict(hidden), self.config.final_logit_softcapping
        return logits if cap is None else cap * torch.tanh(logits / cap)
