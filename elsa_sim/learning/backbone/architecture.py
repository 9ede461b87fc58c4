"""The shape of a transformer, read from its configuration: no tensor library, no weights.

The fields and their defaults are those of transformers' configuration classes, so that a file says here what it says
there; what a field means beyond shapes is left to transformers, which reads the same fields when weights are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from ...base.errors import Fault, InputFaults

ENCODERS = ("bert", "roberta", "distilbert")
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "olmo2", "phi3", "gemma2", "gemma3_text")

_BERT: dict[str, Any] = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
    "pad_token_id": 0, "use_cache": True, "is_decoder": False, "add_cross_attention": False,
    "tie_word_embeddings": True, "classifier_dropout": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
_LLAMA: dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": None, "hidden_act": "silu",
    "max_position_embeddings": 2048, "initializer_range": 0.02, "rms_norm_eps": 1e-6, "use_cache": True,
    "tie_word_embeddings": False, "rope_parameters": None, "attention_dropout": 0.0, "pad_token_id": None,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
_QWEN = _LLAMA | {"vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32,
                  "max_position_embeddings": 32768, "use_sliding_window": False, "sliding_window": None,
                  "max_window_layers": 28, "layer_types": None}  # fmt: skip
_GEMMA: dict[str, Any] = {
    "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192, "initializer_range": 0.02, "rms_norm_eps": 1e-6, "use_cache": True,
    "tie_word_embeddings": True, "rope_parameters": None, "attention_bias": False, "attention_dropout": 0.0,
    "query_pre_attn_scalar": 256, "sliding_window": 4096, "layer_types": None, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 1,
}  # fmt: skip
#: The configuration of each family: field -> default; ``None`` where it may be absent.
FIELDS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT | {"vocab_size": 50265, "pad_token_id": 1},
    "distilbert": {
        "vocab_size": 30522, "max_position_embeddings": 512, "sinusoidal_pos_embds": False, "n_layers": 6,
        "n_heads": 12, "dim": 768, "hidden_dim": 3072, "dropout": 0.1, "attention_dropout": 0.1, "activation": "gelu",
        "initializer_range": 0.02, "qa_dropout": 0.1, "seq_classif_dropout": 0.2, "pad_token_id": 0,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None,
    },
    "gpt2": {
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None,
        "activation_function": "gelu_new", "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5, "initializer_range": 0.02, "summary_type": "cls_index", "summary_use_proj": True,
        "summary_activation": None, "summary_proj_to_labels": True, "summary_first_dropout": 0.1,
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "use_cache": True, "add_cross_attention": False, "tie_word_embeddings": True, "pad_token_id": None,
        "bos_token_id": 50256, "eos_token_id": 50256,
    },
    "llama": _LLAMA | {"head_dim": None, "pretraining_tp": 1, "attention_bias": False, "mlp_bias": False},
    "mistral": _LLAMA | {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072,
                         "head_dim": None, "sliding_window": 4096},
    "qwen2": _QWEN,
    "qwen3": _QWEN | {"head_dim": 128, "attention_bias": False},
    "olmo2": _LLAMA | {"vocab_size": 50304, "rms_norm_eps": 1e-5, "pad_token_id": 1, "eos_token_id": 50279,
                       "attention_bias": False},
    "phi3": _LLAMA | {"vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "rms_norm_eps": 1e-5,
                      "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "resid_pdrop": 0.0,
                      "embd_pdrop": 0.0, "sliding_window": None, "bos_token_id": 1, "eos_token_id": 32000,
                      "pad_token_id": 32000},
    "gemma2": _GEMMA | {"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
    "gemma3_text": _GEMMA | {"vocab_size": 262208, "max_position_embeddings": 131072,
                             "final_logit_softcapping": None, "attn_logit_softcapping": None},
}  # fmt: skip
#: Other names by which transformers takes a field: family -> other name -> field.
ALIASES: dict[str, dict[str, str]] = {
    "distilbert": {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
    "gpt2": {"hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
             "num_hidden_layers": "n_layer"},
}  # fmt: skip
#: Fields that are sizes: at least 1.
_SIZES = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
          "intermediate_size", "max_position_embeddings", "type_vocab_size", "n_layers", "n_heads", "dim", "hidden_dim",
          "n_positions", "n_embd", "n_layer", "n_head", "n_inner"}  # fmt: skip
#: A linear module: name, inputs, outputs.
Linear: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True)
class Architecture:
    """A transformer's shape."""

    family: str
    """transformers' ``model_type``."""
    layers: int
    """L."""
    hidden: int
    """D."""
    inner: int
    """I, the size between the two linear layers of a feed-forward block."""
    heads: int
    """Attention heads."""
    key_heads: int
    """Heads of keys and values."""
    head: int
    """Size of a head."""
    positions: int
    """Rows of the table of position embeddings; where there is no table, the length the model was made for."""
    longest: int | None
    """Tokens of the longest sequence there are position embeddings for; ``None``: no limit."""
    token_types: int
    """Rows of the table of token types; 0: there is none."""
    vocabulary: int
    """Rows of the token table, V."""
    tied: bool
    """Whether the head of a language model is its token table."""
    attention_bias: bool
    """Whether the attention of a layer of Llama or its kin has biases."""
    inner_bias: bool
    """Whether a Llama layer's feed-forward block has biases."""

    @property
    def decoder(self) -> bool:
        """Whether it can predict tokens."""
        return self.family in DECODERS

    def linear(self) -> list[Linear]:
        """The linear modules of a layer: name, inputs, outputs; adapters can be put on these."""
        d, i = self.hidden, self.inner
        if self.family in ("bert", "roberta"):
            return [("query", d, d), ("key", d, d), ("value", d, d), ("dense", d, d), ("dense", d, i), ("dense", i, d)]
        if self.family == "distilbert":
            return [(name, d, d) for name in ("q_lin", "k_lin", "v_lin", "out_lin")] + [("lin1", d, i), ("lin2", i, d)]
        if self.family == "gpt2":
            return [("c_attn", d, 3 * d), ("c_proj", d, d), ("c_fc", d, i), ("c_proj", i, d)]
        q, k = self.heads * self.head, self.key_heads * self.head
        if self.family == "phi3":
            return [("qkv_proj", d, q + 2 * k), ("o_proj", q, d), ("gate_up_proj", d, 2 * i), ("down_proj", i, d)]
        return [("q_proj", d, q), ("k_proj", d, k), ("v_proj", d, k), ("o_proj", q, d),
                ("gate_proj", d, i), ("up_proj", d, i), ("down_proj", i, d)]  # fmt: skip

    def blocks(self) -> tuple[list[Linear], list[Linear], list[list[Linear]]]:
        """The same in the order of a pass: those before attention, the one behind it, those of the feed-forward block."""
        linear = self.linear()
        if len(linear) == 4:  # queries, keys and values in one
            return linear[:1], linear[1:2], [linear[2:3], linear[3:]]
        return linear[:3], linear[3:4], [linear[4:-1], linear[-1:]]

    def biased(self) -> tuple[str, ...]:
        """The linear modules of a layer of Llama and its kin that have a bias."""
        names: tuple[str, ...] = ("q_proj", "k_proj", "v_proj") if self.family == "qwen2" else ()
        if self.attention_bias and self.family in ("llama", "qwen3", "olmo2", "gemma2", "gemma3_text"):
            names = ("q_proj", "k_proj", "v_proj", "o_proj")
        if self.inner_bias and self.family == "llama":
            names += ("gate_proj", "up_proj", "down_proj")
        return names


def merged(model_type: str, fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` of a configuration after ``changes``, each under its own name, no other one."""
    aliases = ALIASES.get(model_type, {})
    given = (*fields.items(), *changes.items())
    return {aliases.get(key, key): value for key, value in given if not (value is None and key in aliases)}


def architecture(model_type: str, fields: Mapping[str, Any], changes: Mapping[str, Any]) -> Architecture:
    """The shape that a configuration of the family ``model_type`` has after ``changes``.

    Raises:
        InputFaults: fields of a wrong type or value; at ``config.KEY`` if they were changed, at ``name`` if not.
    """
    defaults, own = FIELDS[model_type], merged(model_type, fields, {})
    faults = [
        Fault("name", f"its configuration: {key}: {problem}")
        for key, value in own.items()
        if key not in merged(model_type, {}, changes) and (problem := _problem(defaults, key, value))
    ]
    for key, value in changes.items():
        key_there = ALIASES.get(model_type, {}).get(key, key)
        if problem := _problem(defaults, key_there, value):
            faults.append(Fault(f"config.{key}", problem))
    if faults:
        raise InputFaults(faults)
    whole = defaults | merged(model_type, fields, changes)
    if whole.get("use_bidirectional_attention"):
        raise InputFaults(
            [Fault("name", "its configuration: use_bidirectional_attention: a decoder here sees what is before")]
        )
    if problem := _padding_problem(model_type, whole["pad_token_id"], int(whole["vocab_size"])):
        where = "config.pad_token_id" if "pad_token_id" in changes else "name"
        raise InputFaults([Fault(where, problem if where != "name" else f"its configuration: pad_token_id: {problem}")])
    made = _read(model_type, whole)
    if model_type in (*ENCODERS, "gpt2", "llama", "gemma2", "gemma3_text") and made.hidden % made.heads:
        message = f"the hidden size {made.hidden} is not a multiple of the {made.heads} attention heads"
        raise InputFaults([Fault("config" if changes else "name", message)])
    return made


def unknown(model_type: str, key: str) -> Fault:
    """The fault of a change to a field that does not exist."""
    near = get_close_matches(key, [*FIELDS[model_type], *ALIASES.get(model_type, {})], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Fault(f"config.{key}", f"{model_type} has no configuration field {key!r}{hint}")


def _problem(defaults: Mapping[str, Any], key: str, value: Any) -> str | None:
    if key not in defaults:
        return None
    default, number = defaults[key], isinstance(value, int | float) and not isinstance(value, bool)
    optional = default is None or key in ("num_key_value_heads", "head_dim", "sliding_window") or key.endswith("_id")
    if value is None and optional:
        return None
    if key in _SIZES:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"expected int, got {value!r}"
        return None if value >= 1 else f"must be >= 1, got {value}"
    fits = default is None or type(value) is type(default) or (isinstance(default, float) and number) or (
        key.endswith("_id") and isinstance(value, list))  # fmt: skip
    return None if fits else f"expected {type(default).__name__}, got {value!r}"


def _padding_problem(model_type: str, pad: Any, rows: int) -> str | None:
    """Why there is no such padding token; GPT-2 makes no use of it."""
    if pad is None:
        return "RoBERTa counts positions from it, and there is none" if model_type == "roberta" else None
    if not isinstance(pad, int) or isinstance(pad, bool):
        return f"expected int, got {pad!r}"
    if model_type == "gpt2" or -rows <= pad < rows:
        return None
    return f"{pad} is no token; there are embeddings for {rows}"


def _read(model_type: str, fields: Mapping[str, Any]) -> Architecture:
    """``fields`` in the names of this module; they are of the right types."""

    def size(*names: str) -> int:
        return next(int(fields[name]) for name in names if name in fields)

    hidden, heads = size("hidden_size", "dim", "n_embd"), size("num_attention_heads", "n_heads", "n_head")
    inner = fields.get("n_inner") or 4 * hidden if model_type == "gpt2" else size("intermediate_size", "hidden_dim")
    positions = size("max_position_embeddings", "n_positions")
    longest: int | None = positions
    if model_type == "roberta":
        longest = positions - 1 - int(fields["pad_token_id"])  # positions are counted from the padding id on
    elif model_type in DECODERS and model_type != "gpt2":
        longest = None  # rotary
    return Architecture(
        family=model_type,
        layers=size("num_hidden_layers", "n_layers", "n_layer"),
        hidden=hidden,
        inner=int(inner),
        heads=heads,
        key_heads=int(fields.get("num_key_value_heads") or heads),
        head=int(fields.get("head_dim") or max(1, hidden // heads)),
        positions=positions,
        longest=longest,
        token_types=int(fields.get("type_vocab_size") or 0),
        vocabulary=size("vocab_size"),
        tied=bool(fields["tie_word_embeddings"]),
        attention_bias=bool(fields.get("attention_bias")),
        inner_bias=bool(fields.get("mlp_bias")),
    )
