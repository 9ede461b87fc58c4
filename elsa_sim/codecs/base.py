"""What a codec is: a map from a tensor to the buffers that cross the wire, and back.

A codec encodes a tensor into one *main* tensor, which the next codec of the chain takes, and *side* buffers, which
cross as they are. Chains run in order at the sender and reversed at the receiver. Bytes on the wire are the sizes of
the buffers that come out; :meth:`Codec.encoded` declares them beforehand, and the law suite checks the declaration.

A codec has an endpoint at the sender and one at the receiver. Each has a state of its own, made by
:meth:`Codec.start` from the :class:`Keys` that this endpoint knows, so a secret of the client never exists at a server.

Tested in tests/codecs/test_chains.py and tests/codecs/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..base.registry import Component
from ..learning.execution.work import TensorSpec

if TYPE_CHECKING:
    import torch

    from .public import Public
    from .turn import View

#: The kinds of messages that cross a cut of the model; the chain rule couples their chains, see :func:`gradient_chain`.
CUT_KINDS = ("activation", "gradient")


@dataclass(frozen=True)
class MessageContext:
    """One message on its way: what a codec may depend on besides the tensor.

    ``kind`` is that of the message: ``activation``, ``gradient``, ``adapters``, or another one that the protocol sends.
    ``up`` is true from client to server; ``round`` counts rounds from 1; ``index`` counts earlier messages of this kind, way
    and round between the two nodes;
    ``first`` is true when none of this kind and way has passed between them in any round. ``cuts`` are the transformer
    layers below the client's two cuts.
    """

    kind: str
    up: bool
    round: int = 1
    index: int = 0
    first: bool = False
    cuts: tuple[int, int] = (0, 0)

    @property
    def layer(self) -> int:
        """Transformer layers below the cut that is crossed; 0 for messages that cross none."""
        return 0 if self.cut is None else self.cuts[self.cut == "second"]

    @property
    def cut(self) -> Literal["first", "second"] | None:
        """The cut that is crossed: between Parts 1 and 2, or between Parts 2 and 3; ``None`` for other messages."""
        if self.kind not in CUT_KINDS:
            return None
        return "first" if self.up == (self.kind == "activation") else "second"


@dataclass(frozen=True)
class Secrets:
    """Seeds by which clients have them: each ``client`` its own, the clients of one ``server`` a common one, or ``all``."""

    client: int
    server: int
    all: int


@dataclass(frozen=True)
class Keys:
    """What one endpoint knows at the start.

    Seeds that are ``shared`` by everyone; ``secret`` ones of clients, which no server has; those of the ``link``, which its
    two ends have and nobody who listens; and the ``known`` value of the tensor that will be sent, if both ends have one
    (adapters start from the same values everywhere). ``None``: this endpoint does not have them.
    """

    shared: int
    secret: Secrets | None = None
    link: Secrets | None = None
    known: torch.Tensor | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Encoded:
    """What a codec made of a tensor: the main tensor for the next codec of the chain, and side buffers."""

    main: torch.Tensor
    side: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class EncodedSpec:
    """Shapes of an :class:`Encoded`."""

    main: TensorSpec
    side: tuple[TensorSpec, ...] = ()


class Codec(Component):
    """Base of all codecs. Tensors are ``[n, D]``: one row per token (or per row of an adapter matrix).

    Methods are pure: they change neither their tensors nor the state, because an older state may still be read by
    deferred work. A state holds no secret unless its endpoint's keys do.
    """

    family: ClassVar[str] = "codec"
    #: ``pair``: one state per pair of nodes, shared by all message kinds; ``stream``: one per kind and way.
    scope: ClassVar[Literal["pair", "stream"]] = "stream"
    #: The codec's map is part of the forward computation, so gradients at the cut pass through its adjoint, whether
    #: or not the gradient chain names it.
    in_graph: ClassVar[bool] = False
    #: Whether decoding gives back the tensor up to float rounding.
    lossless: ClassVar[bool] = False
    #: The codec is told what the receiver will make of the message, see :meth:`settle`.
    closes_loop: ClassVar[bool] = False
    kind: str

    @property
    def hidden_from(self) -> Literal["edge", "wire"] | None:
        """Who lacks the secret that it needs, if it needs one: the edge server, or only who listens on the wire."""
        return None

    def simulated(self) -> Codec:
        """This codec as somebody without its secret tries it out, with many keys of its own."""
        return self

    @property
    def needs_public(self) -> bool:
        """Whether it is fitted to public text."""
        return False

    @property
    def uses_public(self) -> bool:
        """Whether it is fitted to public text where there is some."""
        return self.needs_public

    @property
    def fitted_anew(self) -> int | None:
        """Rounds after which it is fitted to public text anew; ``None``: never."""
        return None

    @property
    def data_dependent(self) -> str | None:
        """Why its sizes are not known from shapes and rounds alone, if so; a run without arithmetic cannot have them."""
        return None

    def at(self, context: MessageContext, public: Public | None) -> Codec | None:
        """The codec as it is for one message, fitted to ``public`` text where it needs that; ``None`` lets the message
        pass as it is."""
        return self

    def view(self, state: Any, context: MessageContext, width: int) -> View | None:
        """How states look behind this codec to one who is in ``state``, if otherwise than before it."""
        return None

    def fit_error(self, width: int, keys: Keys) -> float | None:
        """The expected relative squared error for states like those that it was fitted to; ``None`` if it was to none."""
        return None

    def behind(self, view: View, *, both: bool) -> Codec:
        """This codec where states look so, as a codec before it makes them; ``both`` ends know that they do."""
        return self

    def announced(self, width: int, round: int) -> int:
        """Bytes that a server sends ahead to a client, with the first adapters of ``round``; states have ``width`` D."""
        return 0

    def start(self, keys: Keys) -> Any:
        """The state of a fresh endpoint (``None``: the codec has none)."""
        return None

    def encoded(self, spec: TensorSpec) -> EncodedSpec:
        """Shapes of what :meth:`encode` makes of a tensor of ``spec``."""
        raise NotImplementedError

    def flops(self, spec: TensorSpec, context: MessageContext) -> tuple[float, float]:
        """Operations of encoding and of decoding a tensor of ``spec``, charged to the devices that do them."""
        return 0.0, 0.0

    def objection(self, before: Sequence[Codec], spec: TensorSpec, message: str) -> str | None:
        """Why this codec cannot follow ``before`` in the chain of ``message`` and take a tensor of ``spec``, if so."""
        if not spec.floating:
            return f"takes floating-point numbers, but {before[-1].kind!r} before it makes {spec.dtype}; put it earlier"
        return None

    def beyond(self, width: int) -> str | None:
        """Why an option as it is stated can have no effect, or no sense, on rows of ``width`` numbers, if so."""
        return None

    def bound(self, x: torch.Tensor) -> torch.Tensor | None:
        """The largest absolute error of decoding what encoding made of ``x``, broadcastable to ``x``.

        ``None``: no deterministic bound per element is stated. Elements that are not finite are outside any bound.
        """
        return None

    def encode(self, x: torch.Tensor, state: Any, context: MessageContext) -> tuple[Encoded, Any]:
        """Encode ``x``; returns the buffers and the sender's next state."""
        raise NotImplementedError

    def settle(self, delivered: torch.Tensor, state: Any) -> Any:
        """The sender's next state, given what the receiver's later codecs will make of the main tensor."""
        raise NotImplementedError

    def decode(self, data: Encoded, spec: TensorSpec, state: Any, context: MessageContext) -> tuple[torch.Tensor, Any]:
        """The estimate of the tensor of ``spec``, and the receiver's next state."""
        raise NotImplementedError
