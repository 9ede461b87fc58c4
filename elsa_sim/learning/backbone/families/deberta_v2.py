"""DeBERTa v2 and v3. Tested in tests/learning/backbone/test_families.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....base.lazy import lazy
from .base import Family, Kept, Linear, Shape, Table, dense, norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..architecture import Architecture
else:
    torch = lazy("torch")


class DebertaV2(Family):
    """DeBERTa (He et al., arXiv:2006.03654) and DeBERTa v3 (arXiv:2111.09543): attention to contents and to relative positions.

    One table of relative positions serves all layers, so every part that has a layer holds it; each layer projects it once per
    batch. Attention is computed here, as the papers have it, because transformers' own knows one set of adapters per batch.
    The module that pools is trained with the classifier. A convolution beside the first layer (v2-xlarge) is refused.
    """

    model_type = "deberta-v2"
    fields: ClassVar[dict[str, Any]] = {
        "vocab_size": 128100, "hidden_size": 1536, "num_hidden_layers": 24, "num_attention_heads": 24,
        "intermediate_size": 6144, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512, "type_vocab_size": 0,
        "initializer_range": 0.02, "layer_norm_eps": 1e-7, "relative_attention": False, "max_relative_positions": -1,
        "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None, "position_biased_input": True,
        "pos_att_type": None, "pooler_dropout": 0.0, "pooler_hidden_act": "gelu", "legacy": True,
        "tie_word_embeddings": True,
    }  # fmt: skip
    prefix = "deberta."
    layer_path = "encoder.layer"
    shares = ("encoder.rel_embeddings", "encoder.LayerNorm")
    targets = ("query_proj", "value_proj")
    kept = Kept(2, 0, 1, before=False, typed_scores=1)
    attention = "eager"
    readers = (
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        "intermediate.dense",
    )
    classifier = ("pooler", "classifier")

    @classmethod
    def sizes(cls) -> frozenset[str]:
        return super().sizes() - {"type_vocab_size"}

    @classmethod
    def obstacles(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from super().obstacles(fields)
        hidden = fields["hidden_size"]
        if (fields.get("conv_kernel_size") or 0) > 0:
            yield (
                "conv_kernel_size",
                "a convolution beside the first layer mixes neighbouring tokens, which cannot be cut",
            )
        for key, usual in (("embedding_size", hidden), ("pooler_hidden_size", hidden),
                           ("attention_head_size", hidden // fields["num_attention_heads"])):  # fmt: skip
            if fields.get(key, usual) != usual:
                yield key, f"a width of its own, {fields[key]} and not {usual}, cannot be cut"

    @classmethod
    def longest(cls, fields: Mapping[str, Any]) -> int | None:
        return int(fields[cls.positions_field]) if fields["position_biased_input"] else None

    @classmethod
    def traits(cls, fields: Mapping[str, Any]) -> dict[str, int]:
        relative, kinds = bool(fields["relative_attention"]), fields["pos_att_type"] or ()
        farthest = fields["max_relative_positions"]
        span = farthest if farthest >= 1 else fields[cls.positions_field]
        if (buckets := fields.get("position_buckets") or 0) > 0:
            span = buckets
        normed = [each.strip() for each in str(fields.get("norm_rel_ebd", "none")).lower().split("|")]
        return {
            "absolute": int(fields["position_biased_input"]),
            "rows": 2 * int(span) * relative,
            "normed": int("layer_norm" in normed),
            "own_modules": int(not fields.get("share_att_key", False)),
            "content_to_position": int(relative and "c2p" in kinds),
            "position_to_content": int(relative and "p2c" in kinds),
        }

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        d, i = shape.hidden, shape.inner
        into = [
            Linear("attention.self.query_proj", d, d, "query"),
            Linear("attention.self.key_proj", d, d, "key"),
            Linear("attention.self.value_proj", d, d, "value"),
        ]
        if shape.trait("own_modules"):
            to, of = shape.trait("content_to_position"), shape.trait("position_to_content")
            into += [Linear("attention.self.pos_key_proj", d, d, "position")] * to
            into += [Linear("attention.self.pos_query_proj", d, d, "position")] * of
        return [
            *into,
            Linear("attention.output.dense", d, d, "out"),
            Linear("intermediate.dense", d, i, "up"),
            Linear("output.dense", i, d, "down"),
        ]

    @classmethod
    def tables(cls, shape: Architecture) -> list[Table]:
        named, rows = {each.name: each for each in cls.modules(shape)}, shape.trait("rows")
        before = "pos_" if shape.trait("own_modules") else ""
        found = []
        if shape.trait("content_to_position"):
            found.append(Table(rows, "query", named[f"{before}key_proj"]))
        if shape.trait("position_to_content"):
            found.append(Table(rows, "key", named[f"{before}query_proj"]))
        return found

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        return norm("attention.output.LayerNorm", shape.hidden) | norm("output.LayerNorm", shape.hidden)

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        d = shape.hidden
        found: dict[str, Shape] = {"embeddings.word_embeddings.weight": (shape.vocabulary, d)}
        if shape.trait("absolute"):
            found["embeddings.position_embeddings.weight"] = (shape.positions, d)
        if shape.token_types:
            found["embeddings.token_type_embeddings.weight"] = (shape.token_types, d)
        return found | norm("embeddings.LayerNorm", d)

    @classmethod
    def shared(cls, shape: Architecture) -> dict[str, Shape]:
        rows, d = shape.trait("rows"), shape.hidden
        table: dict[str, Shape] = {"encoder.rel_embeddings.weight": (rows, d)} if rows else {}
        return table | (norm("encoder.LayerNorm", d) if shape.trait("normed") else {})

    @classmethod
    def class_head(cls, shape: Architecture, labels: int) -> dict[str, Shape]:
        return dense("pooler.dense", shape.hidden, shape.hidden) | dense("classifier", shape.hidden, labels)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embeddings(input_ids=tokens)  # type: ignore[no-any-return]

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        found, encoder = super().context(hidden, mask), self.base.encoder
        if self.config.relative_attention:
            found |= {"table": encoder.get_rel_embedding()[None], "distances": encoder.get_rel_pos(hidden)[0]}
        return found

    def layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        layer: Any = self.layers[index]
        own, kinds = layer.attention.self, self.config.pos_att_type or ()
        q, k, v = (self._heads(module(hidden)) for module in (own.query_proj, own.key_proj, own.value_proj))
        scale = (q.shape[-1] * (1 + ("c2p" in kinds) + ("p2c" in kinds))) ** 0.5
        scores = q @ k.transpose(-1, -2)
        if self.config.relative_attention:
            table, distances = context["table"], context["distances"]
            half = table.shape[1] // 2
            to, of = (own.key_proj, own.query_proj) if own.share_att_key else (
                getattr(own, "pos_key_proj", None), getattr(own, "pos_query_proj", None))  # fmt: skip
            if "c2p" in kinds:
                scores = scores + self._at(q, to, table, (half + distances).clamp(0, 2 * half - 1))
            if "p2c" in kinds:
                scores = scores + self._at(k, of, table, (half - distances).clamp(0, 2 * half - 1)).transpose(-1, -2)
        scores = (scores / scale).masked_fill(~context["attention_mask"], torch.finfo(hidden.dtype).min)
        seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        attended = layer.attention.output(seen, hidden)
        return layer.output(layer.intermediate(attended), attended)  # type: ignore[no-any-return]

    def _heads(self, states: Tensor) -> Tensor:
        """[B, T, D] to [B, heads, T, d]."""
        return states.unflatten(-1, (self.config.num_attention_heads, -1)).transpose(1, 2)  # type: ignore[no-any-return, no-untyped-call]

    def _at(self, states: Tensor, module: Any, table: Tensor, places: Tensor) -> Tensor:
        """Products of states [B, heads, T, d] with the rows at ``places`` [T, T] of a projected table [1, P, D]."""
        projected = self._heads(module.forward(table))  # past the module's hooks: those are about states
        if len(projected) == 1:
            products = torch.einsum("bhtd,hpd->bhtp", states, projected[0])
        else:  # each row with its own adapters
            products = states @ projected.transpose(-1, -2)
        return products.gather(-1, places.expand(*products.shape[:3], -1))

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.classifier(self.model.pooler(hidden))  # type: ignore[operator, no-any-return]
