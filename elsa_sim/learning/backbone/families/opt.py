"""OPT. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape, norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..architecture import Architecture
else:
    torch = lazy("torch")

#: The table of positions begins with rows that no token uses.
_OFFSET = 2


class Opt(Family):
    """OPT (Zhang et al., arXiv:2205.01068): norms before attention and feed-forward block, or behind them.

    A token table of another width than the states (OPT-350m) is refused.
    """

    model_type = "opt"
    causal = True
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 50272, "hidden_size": 768, "num_hidden_layers": 12, "ffn_dim": 3072,
        "max_position_embeddings": 2048, "do_layer_norm_before": True, "_remove_final_layer_norm": False,
        "word_embed_proj_dim": None, "dropout": 0.1, "attention_dropout": 0.0, "num_attention_heads": 12,
        "activation_function": "relu", "layerdrop": 0.0, "init_std": 0.02, "use_cache": True, "pad_token_id": 1,
        "bos_token_id": 2, "eos_token_id": 2, "enable_bias": True, "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
    }  # fmt: skip
    inner_field = "ffn_dim"
    layer_path = "decoder.layers"
    tops = ("decoder.final_layer_norm",)
    targets = ("q_proj", "v_proj")
    kept = Kept(2, 0, 1, enters=True)
    classifier = ("score",)

    @classmethod
    def obstacles(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from super().obstacles(fields)
        width, hidden = fields["word_embed_proj_dim"], fields["hidden_size"]
        if width is not None and width != hidden:
            what = f"tokens are embedded in {width} dimensions and projected to and from the {hidden} of the layers"
            yield "word_embed_proj_dim", f"{what}, which cannot be cut; it must be the hidden size"

    @classmethod
    def traits(cls, fields: Mapping[str, Any]) -> dict[str, int]:
        last = fields["do_layer_norm_before"] and not fields["_remove_final_layer_norm"]
        return {
            "before": int(fields["do_layer_norm_before"]),
            "biases": int(fields["enable_bias"]),
            "norms": int(fields["layer_norm_elementwise_affine"]),
            "last_norm": int(last),
        }

    @classmethod
    def keeps(cls, shape: Architecture) -> Kept:
        return replace(cls.kept, before=bool(shape.trait("before")))

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i, bias = shape.hidden, shape.inner, bool(shape.trait("biases"))
        return [
            Linear("self_attn.k_proj", d, d, "key", bias),
            Linear("self_attn.v_proj", d, d, "value", bias),
            Linear("self_attn.q_proj", d, d, "query", bias),
            Linear("self_attn.out_proj", d, d, "out", bias),
            Linear("fc1", d, i, "up", bias),
            Linear("fc2", i, d, "down", bias),
        ]

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        if not shape.trait("norms"):
            return {}
        return norm("self_attn_layer_norm", shape.hidden) | norm("final_layer_norm", shape.hidden)

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        return {
            "decoder.embed_tokens.weight": (shape.vocabulary, shape.hidden),
            "decoder.embed_positions.weight": (shape.positions + _OFFSET, shape.hidden),
        }

    @classmethod
    def above(cls, shape: Architecture) -> dict[str, Shape]:
        there = shape.trait("last_norm") and shape.trait("norms")
        return norm("decoder.final_layer_norm", shape.hidden) if there else {}

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        before = self.config.do_layer_norm_before
        self.readers = ("self_attn_layer_norm", "final_layer_norm") if before else (
            "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "fc1")  # fmt: skip

    def embed(self, tokens: Tensor) -> Tensor:
        decoder, positions = self.base.decoder, torch.arange(tokens.shape[1], device=tokens.device)[None]
        embedded: Tensor = decoder.embed_tokens(tokens) + decoder.embed_positions(tokens, position_ids=positions)
        return embedded

    def _normed(self, hidden: Tensor) -> Tensor:
        last = self.base.decoder.final_layer_norm
        normed: Tensor = hidden if last is None else last(hidden)
        return normed

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.score(self._normed(self.pool(hidden, lengths)))  # type: ignore[operator, no-any-return]

    def predict(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(self._normed(hidden))  # type: ignore[operator, no-any-return]
