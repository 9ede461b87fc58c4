"""Llama. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")

#: What the configurations of Llama and its kin have in common.
COMMON: dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": None, "hidden_act": "silu",
    "max_position_embeddings": 2048, "initializer_range": 0.02, "rms_norm_eps": 1e-6, "use_cache": True,
    "tie_word_embeddings": False, "rope_parameters": None, "attention_dropout": 0.0, "pad_token_id": None,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


class Llama(Family):
    """Llama (Touvron et al., arXiv:2302.13971): rotary positions, RMS norm, sliding windows where the configuration has them."""

    model_type = "llama"
    causal = True
    fields: ClassVar[dict[str, Any]] = COMMON | {
        "head_dim": None, "pretraining_tp": 1, "attention_bias": False, "mlp_bias": False,
    }  # fmt: skip
    tops = ("norm",)
    targets: ClassVar[tuple[str, ...]] = ("q_proj", "v_proj")
    kept = Kept(0, 2, 3)
    readers: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    classifier = ("score",)
    #: The norms of a layer.
    norm_names: ClassVar[tuple[str, ...]] = ("input_layernorm", "post_attention_layernorm")

    @classmethod
    def longest(cls, fields: Mapping[str, Any]) -> int | None:
        return None  # rotary

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i, q, k = shape.hidden, shape.inner, shape.heads * shape.head, shape.key_heads * shape.head
        into, out, inner = cls.biases(shape)
        return [
            Linear("self_attn.q_proj", d, q, "query", into),
            Linear("self_attn.k_proj", d, k, "key", into),
            Linear("self_attn.v_proj", d, k, "value", into),
            Linear("self_attn.o_proj", q, d, "out", out),
            Linear("mlp.gate_proj", d, i, "up", inner),
            Linear("mlp.up_proj", d, i, "up", inner),
            Linear("mlp.down_proj", i, d, "down", inner),
        ]

    @classmethod
    def biases(cls, shape: Architecture) -> tuple[bool, bool, bool]:
        """Whether there are biases before attention, behind it, and in the feed-forward block."""
        return shape.attention_bias, shape.attention_bias, shape.inner_bias

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        return {f"{name}.weight": (shape.hidden,) for name in cls.norm_names}

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        return {"embed_tokens.weight": (shape.vocabulary, shape.hidden)}

    @classmethod
    def above(cls, shape: Architecture) -> dict[str, Shape]:
        return {"norm.weight": (shape.hidden,)}

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embed_tokens(tokens)  # type: ignore[no-any-return]

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        rotary = self.base.rotary_emb(hidden, position_ids=positions)
        return {**super().context(hidden, mask), "position_ids": positions, "position_embeddings": rotary}

    def layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        window = self._window(index)
        if window is not None and window < hidden.shape[1]:
            at = torch.arange(hidden.shape[1], device=hidden.device)
            near, itself = at[:, None] - at < window, at[:, None] == at  # no row is empty, not even at padding
            context = {**context, "attention_mask": context["attention_mask"] & near | itself}
        return super().layer(index, hidden, context)

    def _window(self, index: int) -> int | None:
        kinds = getattr(self.config, "layer_types", None)
        slides = kinds is None or kinds[index] == "sliding_attention"
        return getattr(self.config, "sliding_window", None) if slides else None

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.score(self.base.norm(self.pool(hidden, lengths)))  # type: ignore[operator, no-any-return]

    def predict(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(self.base.norm(hidden))  # type: ignore[operator, no-any-return]
