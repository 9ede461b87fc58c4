"""Names and shapes of a transformer's tensors, from its architecture alone: what a file of weights must hold.

Names are those of Hugging Face's models without the prefix of the base model (``bert.``, ``transformer.``, ``model.``).

Tested in tests/learning/backbone/test_weights.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from .architecture import Architecture

Shape = tuple[int, ...]
#: What transformers puts before the names of the body's tensors.
PREFIX = {"bert": "bert.", "roberta": "roberta.", "distilbert": "distilbert.", "gpt2": "transformer."}
#: Where the layers are below the base model.
LAYERS = {"bert": "encoder.layer.", "roberta": "encoder.layer.", "distilbert": "transformer.layer.", "gpt2": "h."}

#: What the names of the body's tensors above the last layer begin with.
LAST = ("norm.", "ln_f.")


def prefix(family: str) -> str:
    """What the names of the body's tensors begin with in a model with a head."""
    return PREFIX.get(family, "model.")


def layer_prefix(family: str) -> str:
    """What the names of the layers' tensors begin with in a model with a head, before the number of the layer."""
    return prefix(family) + LAYERS.get(family, "layers.")


def class_head(shape: Architecture, labels: int) -> dict[str, Shape]:
    """The tensors of the class head."""
    d, rows = shape.hidden, (labels, shape.hidden)
    if shape.family == "bert":
        return {"classifier.weight": rows, "classifier.bias": (labels,)}
    if shape.family == "roberta":
        return {"classifier.dense.weight": (d, d), "classifier.dense.bias": (d,),
                "classifier.out_proj.weight": rows, "classifier.out_proj.bias": (labels,)}  # fmt: skip
    if shape.family == "distilbert":
        return {"pre_classifier.weight": (d, d), "pre_classifier.bias": (d,),
                "classifier.weight": rows, "classifier.bias": (labels,)}  # fmt: skip
    return {"score.weight": rows}


def class_rows(shape: Architecture) -> tuple[str, ...]:
    """The tensors of the class head that have a row for each class."""
    if shape.decoder:
        return ("score.weight",)
    last = "classifier.out_proj" if shape.family == "roberta" else "classifier"
    return f"{last}.weight", f"{last}.bias"


def pooler(shape: Architecture) -> dict[str, Shape]:
    """The tensors between BERT's last layer and its class head, which a checkpoint may lack."""
    d = shape.hidden
    return {"pooler.dense.weight": (d, d), "pooler.dense.bias": (d,)} if shape.family == "bert" else {}


def body(shape: Architecture) -> dict[str, Shape]:
    """The tensors of embeddings, layers and last norm: those without which there is no model."""
    make = {"bert": _bert, "roberta": _bert, "distilbert": _distilbert, "gpt2": _gpt2}.get(shape.family, _llama)
    return dict(make(shape))


def language_head(shape: Architecture) -> dict[str, Shape]:
    """The head of a language model where it is not the token table."""
    return {} if shape.tied else {"lm_head.weight": (shape.vocabulary, shape.hidden)}


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, size: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def _bert(shape: Architecture) -> Iterator[tuple[str, Shape]]:
    d, i = shape.hidden, shape.inner
    yield "embeddings.word_embeddings.weight", (shape.vocabulary, d)
    yield "embeddings.position_embeddings.weight", (shape.positions, d)
    yield "embeddings.token_type_embeddings.weight", (shape.token_types, d)
    yield from _norm("embeddings.LayerNorm", d)
    for layer in (f"encoder.layer.{n}." for n in range(shape.layers)):
        for name in ("query", "key", "value"):
            yield from _linear(f"{layer}attention.self.{name}", d, d)
        yield from _linear(f"{layer}attention.output.dense", d, d)
        yield from _norm(f"{layer}attention.output.LayerNorm", d)
        yield from _linear(f"{layer}intermediate.dense", d, i)
        yield from _linear(f"{layer}output.dense", i, d)
        yield from _norm(f"{layer}output.LayerNorm", d)


def _distilbert(shape: Architecture) -> Iterator[tuple[str, Shape]]:
    d, i = shape.hidden, shape.inner
    yield "embeddings.word_embeddings.weight", (shape.vocabulary, d)
    yield "embeddings.position_embeddings.weight", (shape.positions, d)
    yield from _norm("embeddings.LayerNorm", d)
    for layer in (f"transformer.layer.{n}." for n in range(shape.layers)):
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield from _linear(f"{layer}attention.{name}", d, d)
        yield from _norm(f"{layer}sa_layer_norm", d)
        yield from _linear(f"{layer}ffn.lin1", d, i)
        yield from _linear(f"{layer}ffn.lin2", i, d)
        yield from _norm(f"{layer}output_layer_norm", d)


def _gpt2(shape: Architecture) -> Iterator[tuple[str, Shape]]:
    d, i = shape.hidden, shape.inner
    yield "wte.weight", (shape.vocabulary, d)
    yield "wpe.weight", (shape.positions, d)
    for layer in (f"h.{n}." for n in range(shape.layers)):
        yield from _norm(f"{layer}ln_1", d)
        yield from _norm(f"{layer}ln_2", d)
        for name, inputs, outputs in (("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, i),
                                      ("mlp.c_proj", i, d)):  # fmt: skip
            yield f"{layer}{name}.weight", (inputs, outputs)  # the other way round than elsewhere
            yield f"{layer}{name}.bias", (outputs,)
    yield from _norm("ln_f", d)


def _llama(shape: Architecture) -> Iterator[tuple[str, Shape]]:
    d = shape.hidden
    yield "embed_tokens.weight", (shape.vocabulary, d)
    biased, norms, linear = shape.biased(), _norms(shape), shape.linear()
    if shape.family == "phi3":
        linear[:2] = linear[1::-1]  # as transformers defines the modules
    for layer in (f"layers.{n}." for n in range(shape.layers)):
        for name, inputs, outputs in linear:
            block = "self_attn" if name in ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj") else "mlp"
            yield f"{layer}{block}.{name}.weight", (outputs, inputs)
            if name in biased:
                yield f"{layer}{block}.{name}.bias", (outputs,)
        for name, size in norms.items():
            yield f"{layer}{name}.weight", (size,)
    yield "norm.weight", (d,)


def _norms(shape: Architecture) -> dict[str, int]:
    """The norms of a layer of Llama and its kin, and their sizes."""
    names = ["post_attention_layernorm"]
    names += ["input_layernorm"] if shape.family != "olmo2" else []
    names += ["post_feedforward_layernorm"] if shape.family in ("olmo2", "gemma2", "gemma3_text") else []
    names += ["pre_feedforward_layernorm"] if shape.family in ("gemma2", "gemma3_text") else []
    norms = dict.fromkeys(names, shape.hidden)
    if shape.family in ("qwen3", "gemma3_text"):
        norms |= {"self_attn.q_norm": shape.head, "self_attn.k_norm": shape.head}
    if shape.family == "olmo2":
        norms |= {"self_attn.q_norm": shape.heads * shape.head, "self_attn.k_norm": shape.key_heads * shape.head}
    return norms
