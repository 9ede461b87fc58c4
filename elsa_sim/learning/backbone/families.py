"""The transformer families that can be cut: where their embeddings, layers and heads are.

A family knows nothing of adapters, clients or codecs. Sequences are padded on the right; ``lengths`` are their true
lengths, so masks are made here and padding never influences a valid position. Dropout is off throughout.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .options import DECODERS


class Family:
    """A transformer seen as embeddings, a list of layers, and a head."""

    #: Model types of transformers' configurations that this class understands.
    model_types: ClassVar[tuple[str, ...]] = ()
    causal: ClassVar[bool] = False
    #: Attribute path of the layer list below the base model.
    layer_path: ClassVar[str] = ""
    #: The implementation of attention, as transformers names it; ``eager`` takes masks that are added.
    attention: ClassVar[str] = "sdpa"
    #: Modules of a layer whose input is the residual stream.
    readers: ClassVar[tuple[str, ...]] = ()
    #: Modules of the classification model that are trained in full, next to the adapters (peft's modules_to_save).
    classifier: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        prefix = str(model.base_model_prefix)
        self.base: nn.Module = getattr(model, prefix)
        self.layer_prefix = f"{prefix}.{self.layer_path}."
        self.layers: nn.ModuleList = self.base.get_submodule(self.layer_path)
        self.config: Any = model.config

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids [B, T] to hidden states [B, T, D]."""
        raise NotImplementedError

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        """What every layer needs besides hidden states [B, T, D]; ``mask`` [B, T] is true at valid positions."""
        allowed = mask[:, None, None, :].expand(-1, 1, hidden.shape[1], -1)
        if self.causal:
            allowed = allowed & torch.ones(hidden.shape[1:2] * 2, dtype=torch.bool, device=hidden.device).tril()
        return {"attention_mask": allowed}

    def layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        """Hidden states [B, T, D] through layer ``index``."""
        if self.attention == "eager":
            allowed = context["attention_mask"]
            added = torch.zeros_like(allowed, dtype=hidden.dtype).masked_fill(~allowed, torch.finfo(hidden.dtype).min)
            context = {**context, "attention_mask": added}
        out: Tensor | tuple[Tensor, ...] = self.layers[index](hidden, **context)
        return out[0] if isinstance(out, tuple) else out

    def pool(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """The representation [B, D] of each sequence: its first token (encoder) or its last valid one (decoder)."""
        if not self.causal:
            return hidden[:, 0]
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), lengths - 1]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Class logits [B, C] of the last layer's output."""
        raise NotImplementedError

    def predict(self, hidden: Tensor) -> Tensor:
        """Next-token logits [B, T, V] of the last layer's output."""
        raise NotImplementedError


class Bert(Family):
    """BERT (Devlin et al., arXiv:1810.04805); the pooler is frozen."""

    model_types = ("bert",)
    layer_path = "encoder.layer"
    readers = ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense")

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embeddings(input_ids=tokens)  # type: ignore[operator, no-any-return]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.classifier(self.base.pooler(hidden))  # type: ignore[operator, no-any-return]


class Roberta(Bert):
    """RoBERTa (Liu et al., arXiv:1907.11692)."""

    model_types = ("roberta",)

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.classifier(hidden)  # type: ignore[operator, no-any-return]


class DistilBert(Family):
    """DistilBERT (Sanh et al., arXiv:1910.01108); peft trains its classifier, pre_classifier included."""

    model_types = ("distilbert",)
    layer_path = "transformer.layer"
    readers = ("attention.q_lin", "attention.k_lin", "attention.v_lin", "ffn.lin1")
    classifier = ("pre_classifier", "classifier")

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embeddings(tokens)  # type: ignore[operator, no-any-return]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        pooled = torch.relu(self.model.pre_classifier(self.pool(hidden, lengths)))  # type: ignore[operator]
        return self.model.classifier(pooled)  # type: ignore[operator, no-any-return]


class Gpt2(Family):
    """GPT-2 (Radford et al., 2019)."""

    model_types = ("gpt2",)
    causal = True
    layer_path = "h"
    readers = ("ln_1", "ln_2")
    classifier = ("score",)

    def embed(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.base.wte(tokens) + self.base.wpe(positions)  # type: ignore[operator, no-any-return]

    def classify(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        return self.model.score(self.base.ln_f(self.pool(hidden, lengths)))  # type: ignore[operator, no-any-return]

    def predict(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(self.base.ln_f(hidden))  # type: ignore[operator, no-any-return]


class Llama(Family):
    """Llama, Mistral, Qwen and Phi-3 decoders: rotary positions, RMS norm, sliding windows where the configuration has them."""

    model_types: ClassVar[tuple[str, ...]] = ("llama", "mistral", "qwen2", "qwen3", "phi3")
    causal = True
    layer_path = "layers"
    readers: ClassVar[tuple[str, ...]] = ("input_layernorm", "post_attention_layernorm")
    classifier = ("score",)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.base.embed_tokens(tokens)  # type: ignore[operator, no-any-return]

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        rotary = self.base.rotary_emb(hidden, position_ids=positions)  # type: ignore[operator]
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


class Olmo2(Llama):
    """OLMo 2 (arXiv:2501.00656): norms behind attention and feed-forward block, not before them."""

    model_types = ("olmo2",)
    readers = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")


class Gemma2(Llama):
    """Gemma 2 (arXiv:2408.00118): norms on both sides, scaled embeddings, logits of attention and head that are capped."""

    model_types = ("gemma2",)
    attention = "eager"  # the fused ones cannot cap
    readers = ("input_layernorm", "pre_feedforward_layernorm")

    def predict(self, hidden: Tensor) -> Tensor:
        logits, cap = super().predict(hidden), self.config.final_logit_softcapping
        return logits if cap is None else cap * torch.tanh(logits / cap)


class Gemma3(Gemma2):
    """Gemma 3 (arXiv:2503.19786), text only: layers with a window have rotary positions of their own."""

    model_types = ("gemma3_text",)
    attention = "sdpa"

    def context(self, hidden: Tensor, mask: Tensor) -> dict[str, Any]:
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        kinds = sorted(set(self.config.layer_types))
        rotary = {kind: self.base.rotary_emb(hidden, positions, kind) for kind in kinds}  # type: ignore[operator]
        return {**Family.context(self, hidden, mask), "position_ids": positions, "position_embeddings": rotary}

    def layer(self, index: int, hidden: Tensor, context: dict[str, Any]) -> Tensor:
        rotary = context["position_embeddings"][self.config.layer_types[index]]
        return super().layer(index, hidden, {**context, "position_embeddings": rotary})


FAMILIES: dict[str, type[Family]] = {
    model_type: family
    for family in (Bert, Roberta, DistilBert, Gpt2, Llama, Olmo2, Gemma2, Gemma3)
    for model_type in family.model_types
}
assert set(DECODERS) == {name for name, family in FAMILIES.items() if family.causal}
