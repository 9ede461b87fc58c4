"""Shared by the tests of the learning core: small backbones of every family, and batches of unequal lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elsa_sim.base.context import Context
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.model import Backbone, Objective, build
from elsa_sim.learning.backbone.options import DECODERS, ENCODERS, BackboneOptions, LoraOptions, locate
from elsa_sim.learning.tasks.base import Split
from elsa_sim.learning.tasks.data import Batch

VOCABULARY, CLASSES, LAYERS, HIDDEN, INNER, HEADS = 29, 3, 3, 16, 24, 4
_LLAMA = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": 2,
          "intermediate_size": INNER, "max_position_embeddings": 32}  # fmt: skip
_BERT = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
         "max_position_embeddings": 32}  # fmt: skip
#: Fields of a small transformers configuration of each family.
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": {**_BERT, "type_vocab_size": 1},
    "distilbert": {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": INNER, "max_position_embeddings": 32},
    "gpt2": {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "n_inner": INNER, "n_positions": 32},
    "llama": _LLAMA,
    "mistral": {**_LLAMA, "head_dim": HIDDEN // HEADS},
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": HIDDEN // HEADS},
    "olmo2": _LLAMA,
    "phi3": _LLAMA,
    "gemma2": {**_LLAMA, "head_dim": HIDDEN // HEADS, "query_pre_attn_scalar": 4, "sliding_window": 3,
               "attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.0},
    "gemma3_text": {**_LLAMA, "head_dim": HIDDEN // HEADS, "query_pre_attn_scalar": 4, "sliding_window": 3,
                    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "opt": {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "ffn_dim": INNER,
            "max_position_embeddings": 32, "init_std": 0.2},
    "gpt_neox": _BERT,
    "deberta-v2": {**_BERT, "relative_attention": True, "position_buckets": 4, "pos_att_type": ["p2c", "c2p"],
                   "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False,
                   "type_vocab_size": 0},
    "modernbert": {**_BERT, "local_attention": 4},
    "smollm3": {**_LLAMA, "no_rope_layers": [1, 0, 1]},
}  # fmt: skip
#: Every family with every objective it can have.
CASES: list[tuple[str, Objective]] = [
    *((family, "classification") for family in CONFIGS),
    *((family, "causal_lm") for family in DECODERS),
]
assert set(CONFIGS) == {*ENCODERS, *DECODERS}
#: RoBERTa counts positions from its padding id on.
PAD = {"roberta": 1}
#: Linear modules inside a layer.
LINEAR: dict[str, tuple[str, ...]] = {
    "bert": ("query", "key", "value", "dense"),
    "roberta": ("query", "key", "value", "dense"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "opt": ("k_proj", "v_proj", "q_proj", "out_proj", "fc1", "fc2"),
    "deberta-v2": ("query_proj", "key_proj", "value_proj", "dense"),
    "modernbert": ("Wqkv", "Wo", "Wi"),
    "gpt_neox": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "olmo2", "gemma2", "gemma3_text", "smollm3"),
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
}


def configuration(folder: Path, family: str, **changes: Any) -> Path:
    """A folder with the configuration of a small model of ``family``, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"vocab_size": VOCABULARY, "pad_token_id": PAD.get(family, 0), "initializer_range": 0.2,
              "bos_token_id": None, "eos_token_id": None}  # fmt: skip
    text = json.dumps({"model_type": family, **fields, **CONFIGS[family], **changes})
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


def small(
    folder: Path,
    family: str,
    objective: Objective = "classification",
    *,
    targets: tuple[str, ...] | None = None,
    rank: int = 2,
    meta: bool = False,
    seed: int = 5,
    **changes: Any,
) -> Backbone:
    """A small randomly initialised backbone of ``family``."""
    where = configuration(folder / f"{family}-{abs(hash(str(sorted(changes.items()))))}", family, **changes)
    lora = LoraOptions(rank=rank, alpha=3.0, targets=targets)
    options = BackboneOptions(name=str(where), weights="random", lora=lora)
    return made(options, objective, pad=PAD.get(family, 0), meta=meta, seed=seed)


def made(
    options: BackboneOptions, objective: Objective, *, pad: int = 0, meta: bool = False, seed: int = 5
) -> Backbone:
    """What ``options`` describe, built."""
    source = locate(options, Context(Streams(0)))
    return build(options, source, objective, labels=CLASSES, vocabulary=VOCABULARY, pad_id=pad, seed=seed, meta=meta)


def outlined(options: BackboneOptions, objective: Objective, *, vocabulary: int = VOCABULARY) -> Outline:
    """What ``options`` describe, on paper."""
    source, causal = locate(options, Context(Streams(0))), objective == "causal_lm"
    return Outline.of(
        source, options.lora, causal_lm=causal, labels=CLASSES, vocabulary=vocabulary, numbers=options.numbers
    )


@cache
def tiny(objective: Objective = "classification", *, meta: bool = False) -> Backbone:
    """A built-in backbone, shared by tests that only read it."""
    name = "tiny-bert" if objective == "classification" else "tiny-gpt2"
    return made(BackboneOptions(name=name, lora=LoraOptions(rank=2)), objective, meta=meta)


def perturbed(values: Mapping[str, Tensor], seed: int = 1, scale: float = 0.2) -> dict[str, Tensor]:
    """Adapters that do something: B is zero at the start."""
    draw = torch.Generator().manual_seed(seed)
    return {name: value + scale * torch.randn(value.shape, generator=draw) for name, value in values.items()}


def batch_of(lengths: list[int], pad: int = 0, seed: int = 2, vocabulary: int = VOCABULARY) -> Batch:
    """Random tokens (never the padding id) of sequences of ``lengths``, with labels."""
    rng = np.random.default_rng(seed)
    tokens = np.full((len(lengths), max(lengths)), pad, dtype=np.int64)
    for row, length in zip(tokens, lengths, strict=True):
        row[:length] = rng.integers(5, vocabulary, length)
    return Batch(tokens, np.array(lengths, dtype=np.int64), rng.integers(0, CLASSES, len(lengths)))


def samples(count: int, seed: int = 3, shortest: int = 2, longest: int = 9) -> Split:
    """A data set of random samples; sample i begins with token i, so that it can be told apart."""
    rng = np.random.default_rng(seed)
    rows = [[i, *rng.integers(5, VOCABULARY, rng.integers(shortest, longest + 1) - 1)] for i in range(count)]
    return Split.of(rows, rng.integers(0, CLASSES, count))
