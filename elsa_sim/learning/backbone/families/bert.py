"""BERT. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .base import Family, Kept, Linear, Shape, dense, norm

if TYPE_CHECKING:
    from torch import Tensor

    from ..architecture import Architecture


class Bert(Family):
    """BERT (Devlin et al., arXiv:1810.04805); the pooler is frozen."""

    model_type = "bert"
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512, "type_vocab_size": 2,
        "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0, "use_cache": True, "is_decoder": False,
        "add_cross_attention": False, "tie_word_embeddings": True, "classifier_dropout": None, "bos_token_id": None,
        "eos_token_id": None,
    }  # fmt: skip
    prefix = "bert."
    layer_path = "encoder.layer"
    tops: ClassVar[tuple[str, ...]] = ("pooler",)
    targets = ("query", "value")
    kept = Kept(2, 0, 1, before=False)
    readers = ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense")

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i = shape.hidden, shape.inner
        return [
            Linear("attention.self.query", d, d, "query"),
            Linear("attention.self.key", d, d, "key"),
            Linear("attention.self.value", d, d, "value"),
            Linear("attention.output.dense", d, d, "out"),
            Linear("intermediate.dense", d, i, "up"),
            Linear("output.dense", i, d, "down"),
        ]

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        return norm("attention.output.LayerNorm", shape.hidden) | norm("output.LayerNorm", shape.hidden)

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        d = shape.hidden
        return {
            "embeddings.word_embeddings.weight": (shape.vocabulary, d),
            "embeddings.position_embeddings.weight": (shape.positions, d),
            "embeddings.token_type_embeddings.weight": (shape.token_types, d),
        } | norm("embeddings.LayerNorm", d)

    @classmethod
    def pooler(cls, shape: Architecture) -> dict[str, Shape]:
        return dense("pooler.dense", shape.hidden, shape.hidden)

    @classmethod
    def class_head(cls, shape: Architecture, labels: int) -> dict[str, Shape]:
        return dense("classifier", shape.hidden, labels)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embeddings(input_ids=tokens)  # type: ignore[no-any-return]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.classifier(self.base.pooler(hidden))  # type: ignore[operator, no-any-return]
