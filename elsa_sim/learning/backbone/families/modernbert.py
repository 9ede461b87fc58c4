"""ModernBERT. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape, dense, norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")


class ModernBert(Family):
    """ModernBERT (Warner et al., arXiv:2412.13663): rotary positions, layers that see all and layers that see a window.

    Padded, not unpadded as in the paper: padding is masked, which gives the same states. The class head has a linear module and
    a norm before the classifier; all of it is trained.
    """

    model_type = "modernbert"
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 50368, "hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 22,
        "num_attention_heads": 12, "hidden_activation": "gelu", "max_position_embeddings": 8192,
        "initializer_range": 0.02, "initializer_cutoff_factor": 2.0, "norm_eps": 1e-5, "norm_bias": False,
        "pad_token_id": 50283, "eos_token_id": 50282, "bos_token_id": 50281, "cls_token_id": 50281,
        "sep_token_id": 50282, "attention_bias": False, "attention_dropout": 0.0, "layer_types": None,
        "rope_parameters": None, "local_attention": 128, "embedding_dropout": 0.0, "mlp_bias": False,
        "mlp_dropout": 0.0, "decoder_bias": True, "classifier_pooling": "cls", "classifier_dropout": 0.0,
        "classifier_bias": False, "classifier_activation": "gelu", "tie_word_embeddings": True,
    }  # fmt: skip
    tops = ("final_norm",)
    targets = ("Wqkv",)
    kept = Kept(2, 0, 3)
    readers = ("attn_norm", "mlp_norm")
    classifier = ("head", "classifier")

    @classmethod
    def longest(cls, fields: Mapping[str, Any]) -> int | None:
        return None  # rotary

    @classmethod
    def traits(cls, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"norm_biases": int(fields["norm_bias"]), "head_bias": int(fields["classifier_bias"])}

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i = shape.hidden, shape.inner
        return [
            Linear("attn.Wqkv", d, 3 * d, "qkv", shape.attention_bias),
            Linear("attn.Wo", d, d, "out", shape.attention_bias),
            Linear("mlp.Wi", d, 2 * i, "up", shape.inner_bias),
            Linear("mlp.Wo", i, d, "down", shape.inner_bias),
        ]

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        names = ("mlp_norm",) if index == 0 else ("attn_norm", "mlp_norm")  # what comes in first was just normalised
        return {key: size for name in names for key, size in cls._norm(name, shape).items()}

    @classmethod
    def _norm(cls, name: str, shape: Architecture) -> dict[str, Shape]:
        return norm(name, shape.hidden, bool(shape.trait("norm_biases")))

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        table = (shape.vocabulary, shape.hidden)
        return {"embeddings.tok_embeddings.weight": table} | cls._norm("embeddings.norm", shape)

    @classmethod
    def above(cls, shape: Architecture) -> dict[str, Shape]:
        return cls._norm("final_norm", shape)

    @classmethod
    def class_head(cls, shape: Architecture, labels: int) -> dict[str, Shape]:
        d = shape.hidden
        lower = dense("head.dense", d, d, bool(shape.trait("head_bias"))) | cls._norm("head.norm", shape)
        return lower | dense("classifier", d, labels)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embeddings(input_ids=tokens)  # type: ignore[no-any-return]

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        kinds = sorted(set(self.config.layer_types))
        rotary = {kind: self.base.rotary_emb(hidden, positions, kind) for kind in kinds}
        return {**super().context(hidden, mask), "position_embeddings": rotary}

    def layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        reach, allowed = self.config.layer_types[index], context["attention_mask"]
        if reach == "sliding_attention":
            at = torch.arange(hidden.shape[1], device=hidden.device)
            distance = (at[:, None] - at).abs()
            # No row is empty, not even at padding.
            allowed = allowed & (distance <= self.config.sliding_window) | (distance == 0)
        rotary = context["position_embeddings"][reach]
        return super().layer(index, hidden, {"attention_mask": allowed, "position_embeddings": rotary})

    def pool(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        if self.config.classifier_pooling == "cls":
            return hidden[:, 0]
        valid = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        return hidden.masked_fill(~valid[..., None], 0).sum(1) / lengths[:, None]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        pooled = self.pool(self.base.final_norm(hidden), lengths)
        return self.model.classifier(self.model.head(pooled))  # type: ignore[operator, no-any-return]
