"""GPT-2. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape, norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")


class Gpt2(Family):
    """GPT-2 (Radford et al., 2019)."""

    model_type = "gpt2"
    causal = True
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None,
        "activation_function": "gelu_new", "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5, "initializer_range": 0.02, "summary_type": "cls_index", "summary_use_proj": True,
        "summary_activation": None, "summary_proj_to_labels": True, "summary_first_dropout": 0.1,
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "use_cache": True, "add_cross_attention": False, "tie_word_embeddings": True, "pad_token_id": None,
        "bos_token_id": 50256, "eos_token_id": 50256,
    }  # fmt: skip
    aliases: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }  # fmt: skip
    layers_field, hidden_field, heads_field, inner_field = "n_layer", "n_embd", "n_head", "n_inner"
    positions_field = "n_positions"
    padding_row = False
    prefix = "transformer."
    layer_path = "h"
    tops = ("ln_f",)
    targets = ("c_attn",)
    kept = Kept(2, 0, 4)
    transposed = True
    readers = ("ln_1", "ln_2")
    classifier = ("score",)

    @classmethod
    def inner(cls, fields: Mapping[str, Any]) -> int:
        return int(fields["n_inner"] or 4 * fields["n_embd"])

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i = shape.hidden, shape.inner
        return [
            Linear("attn.c_attn", d, 3 * d, "qkv"),
            Linear("attn.c_proj", d, d, "out"),
            Linear("mlp.c_fc", d, i, "up"),
            Linear("mlp.c_proj", i, d, "down"),
        ]

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        return norm("ln_1", shape.hidden) | norm("ln_2", shape.hidden)

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        return {"wte.weight": (shape.vocabulary, shape.hidden), "wpe.weight": (shape.positions, shape.hidden)}

    @classmethod
    def above(cls, shape: Architecture) -> dict[str, Shape]:
        return norm("ln_f", shape.hidden)

    def embed(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.base.wte(tokens) + self.base.wpe(positions)  # type: ignore[no-any-return]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.score(self.base.ln_f(self.pool(hidden, lengths)))  # type: ignore[operator, no-any-return]

    def predict(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(self.base.ln_f(hidden))  # type: ignore[operator, no-any-return]
