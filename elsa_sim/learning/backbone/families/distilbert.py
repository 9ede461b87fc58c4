"""DistilBERT. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape, dense, norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")


class DistilBert(Family):
    """DistilBERT (Sanh et al., arXiv:1910.01108); peft trains its classifier, pre_classifier included."""

    model_type = "distilbert"
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 30522, "max_position_embeddings": 512, "sinusoidal_pos_embds": False, "n_layers": 6,
        "n_heads": 12, "dim": 768, "hidden_dim": 3072, "dropout": 0.1, "attention_dropout": 0.1, "activation": "gelu",
        "initializer_range": 0.02, "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "pad_token_id": 0,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    aliases: ClassVar[dict[str, str]] = {
        "hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers",
    }  # fmt: skip
    layers_field, hidden_field, heads_field, inner_field = "n_layers", "dim", "n_heads", "hidden_dim"
    prefix = "distilbert."
    layer_path = "transformer.layer"
    targets = ("q_lin", "v_lin")
    kept = Kept(2, 0, 1, before=False)
    readers = ("attention.q_lin", "attention.k_lin", "attention.v_lin", "ffn.lin1")
    classifier = ("pre_classifier", "classifier")

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i = shape.hidden, shape.inner
        return [
            Linear("attention.q_lin", d, d, "query"),
            Linear("attention.k_lin", d, d, "key"),
            Linear("attention.v_lin", d, d, "value"),
            Linear("attention.out_lin", d, d, "out"),
            Linear("ffn.lin1", d, i, "up"),
            Linear("ffn.lin2", i, d, "down"),
        ]

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        return norm("sa_layer_norm", shape.hidden) | norm("output_layer_norm", shape.hidden)

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        d = shape.hidden
        return {
            "embeddings.word_embeddings.weight": (shape.vocabulary, d),
            "embeddings.position_embeddings.weight": (shape.positions, d),
        } | norm("embeddings.LayerNorm", d)

    @classmethod
    def class_head(cls, shape: Architecture, labels: int) -> dict[str, Shape]:
        return dense("pre_classifier", shape.hidden, shape.hidden) | dense("classifier", shape.hidden, labels)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embeddings(tokens)  # type: ignore[no-any-return]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        pooled = torch.relu(self.model.pre_classifier(self.pool(hidden, lengths)))  # type: ignore[operator]
        return self.model.classifier(pooled)  # type: ignore[operator, no-any-return]
