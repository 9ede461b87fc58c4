"""GPT-NeoX, of which Pythia is. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape, norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")


class GptNeox(Family):
    """GPT-NeoX (arXiv:2204.06745) and Pythia (arXiv:2304.01373): attention and feed-forward block side by side or one by one."""

    model_type = "gpt_neox"
    causal = True
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 50432, "hidden_size": 6144, "num_hidden_layers": 44, "num_attention_heads": 64,
        "intermediate_size": 24576, "hidden_act": "gelu", "attention_dropout": 0.0, "hidden_dropout": 0.0,
        "classifier_dropout": 0.1, "max_position_embeddings": 2048, "initializer_range": 0.02, "layer_norm_eps": 1e-5,
        "use_cache": True, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": None, "tie_word_embeddings": False,
        "use_parallel_residual": True, "rope_parameters": None, "attention_bias": True, "is_decoder": False,
    }  # fmt: skip
    padding_row = False
    prefix = "gpt_neox."
    tops = ("final_layer_norm",)
    targets = ("query_key_value",)
    kept = Kept(1, 0, 1)  # both norms are given the same
    readers = ("input_layernorm", "post_attention_layernorm")
    classifier = ("score",)

    @classmethod
    def longest(cls, fields: Mapping[str, Any]) -> int | None:
        return None  # rotary

    @classmethod
    def traits(cls, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"parallel": int(fields["use_parallel_residual"])}

    @classmethod
    def keeps(cls, shape: Architecture) -> Kept:
        return cls.kept if cls.parallel(shape) else replace(cls.kept, norms=2)

    @classmethod
    def parallel(cls, shape: Architecture) -> bool:
        return bool(shape.trait("parallel"))

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i = shape.hidden, shape.inner
        return [
            Linear("attention.query_key_value", d, 3 * d, "qkv", shape.attention_bias),
            Linear("attention.dense", d, d, "out", shape.attention_bias),
            Linear("mlp.dense_h_to_4h", d, i, "up"),
            Linear("mlp.dense_4h_to_h", i, d, "down"),
        ]

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        return norm("input_layernorm", shape.hidden) | norm("post_attention_layernorm", shape.hidden)

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        return {"embed_in.weight": (shape.vocabulary, shape.hidden)}

    @classmethod
    def above(cls, shape: Architecture) -> dict[str, Shape]:
        return norm("final_layer_norm", shape.hidden)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embed_in(tokens)  # type: ignore[no-any-return]

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        rotary = self.base.rotary_emb(hidden, position_ids=positions)
        return {**super().context(hidden, mask), "position_ids": positions, "position_embeddings": rotary}

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.score(self.base.final_layer_norm(self.pool(hidden, lengths)))  # type: ignore[operator, no-any-return]

    def predict(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(self.base.final_layer_norm(hidden))  # type: ignore[operator, no-any-return]
