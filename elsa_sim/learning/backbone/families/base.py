"""What a family of transformers is: its configuration, its tensors and what is trained on them, and how it is cut.

All that is particular to a family is in its file. The upper half of the class knows shapes alone and loads no tensor library; an
instance holds a model and computes. A family knows nothing of adapters, clients or codecs. Sequences are padded on the right;
``lengths`` are their true lengths, so masks are made here and padding never influences a valid position. Dropout is off throughout.

Tested in tests/learning/backbone/test_families.py, tests/learning/backbone/test_architecture.py and
tests/learning/backbone/test_weights.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ....base.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..architecture import Architecture
else:
    torch = lazy("torch")

Shape = tuple[int, ...]
#: What a linear module of a layer does: make queries, keys, values, or all three of them; bring together what attention gives;
#: lead into the feed-forward block, and out of it; project a table of positions, not states.
Role = Literal["query", "key", "value", "qkv", "out", "up", "down", "position"]


@dataclass(frozen=True)
class Linear:
    """A linear module of a layer; adapters can be put on it."""

    path: str
    """Where it is below the layer."""
    inputs: int
    outputs: int
    role: Role
    bias: bool = True

    @property
    def name(self) -> str:
        """Its last name."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Table:
    """A table of relative positions that attention looks at, projected once per batch in every layer."""

    rows: int
    met_by: Literal["query", "key"]
    """What is multiplied with it."""
    module: Linear
    """What projects it."""


def dense(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, Shape]:
    """The tensors of a linear module."""
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name: str, size: int, bias: bool = True) -> dict[str, Shape]:
    """The tensors of a norm."""
    leaves = ("weight", "bias") if bias else ("weight",)
    return {f"{name}.{leaf}": (size,) for leaf in leaves}


@dataclass(frozen=True)
class Kept:
    """Tensors that a layer keeps for its backward pass, per token, besides queries, keys, values and what attention gives."""

    norms: float
    """Of size D, in the backbone's type: what enters layer norms."""
    single: float
    """Of size D, always float32: what enters RMS norms."""
    inner: float
    """Of size I: around the activation function."""
    before: bool = True
    """The first thing in a layer is a norm."""
    normed: bool = False
    """Queries and keys are normed, in float32."""
    scores: int = 0
    """Matrices T x T per head, in float32, where attention is not fused."""
    typed_scores: int = 0
    """The same, in the backbone's type."""
    enters: bool = False
    """What leads out of the feed-forward block is given what the activation function keeps anyway."""


#: The families by transformers' ``model_type``.
FAMILIES: dict[str, type[Family]] = {}


class Family:
    """A transformer seen as embeddings, a list of layers, and a head; one that states a ``model_type`` can be named."""

    #: transformers' ``model_type``.
    model_type: ClassVar[str]
    #: Whether it can predict tokens.
    causal: ClassVar[bool] = False
    #: Its configuration: field -> default of transformers; ``None`` where it may be absent.
    fields: ClassVar[Mapping[str, Any]]
    #: Other names by which transformers takes a field: other name -> field.
    aliases: ClassVar[Mapping[str, str]] = {}
    #: The fields that the sizes are in.
    layers_field: ClassVar[str] = "num_hidden_layers"
    hidden_field: ClassVar[str] = "hidden_size"
    heads_field: ClassVar[str] = "num_attention_heads"
    inner_field: ClassVar[str] = "intermediate_size"
    positions_field: ClassVar[str] = "max_position_embeddings"
    #: Whether the hidden size must be a multiple of the number of heads.
    whole_heads: ClassVar[bool] = True
    #: Whether the padding token has a row in the token table.
    padding_row: ClassVar[bool] = True
    #: What the names of the body's tensors begin with in a model with a head.
    prefix: ClassVar[str] = "model."
    #: Where the list of layers is below the base model.
    layer_path: ClassVar[str] = "layers"
    #: Modules of the base model above the last layer.
    tops: ClassVar[tuple[str, ...]] = ()
    #: Modules of the base model that every part with a layer holds.
    shares: ClassVar[tuple[str, ...]] = ()
    #: Modules with adapters where the scenario names none: peft's choice.
    targets: ClassVar[tuple[str, ...]]
    #: What a layer keeps for its backward pass (see `memory`).
    kept: ClassVar[Kept]
    #: Whether the weights of linear modules are [in, out].
    transposed: ClassVar[bool] = False
    #: The implementation of attention, as transformers names it; ``eager`` takes masks that are added.
    attention: ClassVar[str] = "sdpa"
    #: Modules of a layer whose input is the residual stream.
    readers: tuple[str, ...] = ()
    #: Modules of the classification model that are trained in full, next to the adapters (peft's modules_to_save).
    classifier: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init_subclass__(cls) -> None:
        if "model_type" in vars(cls):
            FAMILIES[cls.model_type] = cls

    # On paper ---------------------------------------------------------------------------------------------------------

    @classmethod
    def sizes(cls) -> frozenset[str]:
        """The fields that are sizes: at least 1."""
        own = (cls.layers_field, cls.hidden_field, cls.heads_field, cls.inner_field, cls.positions_field)
        return frozenset((*own, "vocab_size", "num_key_value_heads", "head_dim", "type_vocab_size"))

    @classmethod
    def obstacles(cls, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What in a whole configuration stands in the way of a cut: field and reason."""
        if cls.causal and fields.get("use_bidirectional_attention"):
            yield "use_bidirectional_attention", "a decoder here sees what is before"
        if problem := cls.padding_problem(fields["pad_token_id"], int(fields["vocab_size"])):
            yield "pad_token_id", problem

    @classmethod
    def padding_problem(cls, pad: Any, rows: int) -> str | None:
        """Why there is no such padding token."""
        if pad is None:
            return None
        if not isinstance(pad, int) or isinstance(pad, bool):
            return f"expected int, got {pad!r}"
        if not cls.padding_row or -rows <= pad < rows:
            return None
        return f"{pad} is no token; there are embeddings for {rows}"

    @classmethod
    def longest(cls, fields: Mapping[str, Any]) -> int | None:
        """Tokens of the longest sequence there are position embeddings for; ``None``: no limit."""
        return int(fields[cls.positions_field])

    @classmethod
    def inner(cls, fields: Mapping[str, Any]) -> int:
        """The size between the two linear layers of a feed-forward block."""
        return int(fields[cls.inner_field])

    @classmethod
    def traits(cls, fields: Mapping[str, Any]) -> dict[str, int]:
        """What shapes depend on in this family alone, from a whole configuration."""
        return {}

    @classmethod
    def parallel(cls, shape: Architecture) -> bool:
        """Whether the feed-forward block sees what goes into attention, not what comes out of it."""
        return False

    @classmethod
    def keeps(cls, shape: Architecture) -> Kept:
        """What a layer of this shape keeps."""
        return cls.kept

    @classmethod
    def modules(cls, shape: Architecture) -> list[Linear]:
        """The linear modules of a layer, in transformers' order."""
        raise NotImplementedError

    @classmethod
    def norms(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        """The other tensors of layer ``index``."""
        raise NotImplementedError

    @classmethod
    def below(cls, shape: Architecture) -> dict[str, Shape]:
        """The tensors below the first layer, the token table among them."""
        raise NotImplementedError

    @classmethod
    def above(cls, shape: Architecture) -> dict[str, Shape]:
        """The tensors above the last layer without which there is no model."""
        return {}

    @classmethod
    def shared(cls, shape: Architecture) -> dict[str, Shape]:
        """The tensors that every layer needs."""
        return {}

    @classmethod
    def tables(cls, shape: Architecture) -> list[Table]:
        """The tables that every layer projects, which are among `shared`."""
        return []

    @classmethod
    def pooler(cls, shape: Architecture) -> dict[str, Shape]:
        """The frozen tensors between the last layer and the class head, which a checkpoint may lack."""
        return {}

    @classmethod
    def class_head(cls, shape: Architecture, labels: int) -> dict[str, Shape]:
        """The tensors of the class head."""
        return dense("score", shape.hidden, labels, bias=False)

    @classmethod
    def layer_tensors(cls, shape: Architecture, index: int) -> dict[str, Shape]:
        """The tensors of layer ``index``, by their names below it."""
        found: dict[str, Shape] = {}
        for module in cls.modules(shape):
            found |= dense(module.path, module.inputs, module.outputs, module.bias)
            if cls.transposed:
                found[f"{module.path}.weight"] = (module.inputs, module.outputs)
        return found | cls.norms(shape, index)

    # With tensors -----------------------------------------------------------------------------------------------------

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.base: Any = getattr(model, str(model.base_model_prefix))
        self.layer_prefix = f"{self.prefix}{self.layer_path}."
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
