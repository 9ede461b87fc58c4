"""The codec chains of a run: which codecs a message passes, and what its two ends know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

from ..base.streams import Streams
from ..codecs.base import Codec, Keys, MessageContext, Secrets
from ..codecs.chain import coupled, resolved
from ..learning.execution.work import Ref, TensorSpec, Work
from .transmission import Endpoints, Transmission
from .verb import Verb

if TYPE_CHECKING:
    from torch import Tensor

    from ..codecs.public_text import PublicText


class CodecPipeline:
    """The codec chain of each kind of message, and the state of each codec at each endpoint.

    The state of an endpoint is kept under the node that owns it, and only the client's endpoint is given the secret
    seed: what a server's endpoints hold is all a server knows.
    """

    def __init__(
        self,
        chains: Mapping[str, Sequence[Codec]],
        streams: Streams,
        *,
        cuts: Callable[[str], tuple[int, int] | None] = lambda client: None,
        width: int = 0,
        public: PublicText | None = None,
        initial: Ref | None = None,
    ) -> None:
        """``chains`` are by kind of message, as a scenario states them. ``cuts`` tells the layers below the two cuts of a
        client, ``width`` the hidden size; ``public`` text is what codecs are fitted to, ``initial`` are the adapters that
        everyone starts from."""
        self.cuts, self.width, self.public, self.initial = cuts, width, public, initial
        self.chains = coupled(chains)
        self.streams = streams
        #: The client in whose place an attacker stands, if any.
        self.stands_for: str | None = None
        self.endpoints = Endpoints()
        #: Messages so far per (source, target, kind), their last round, and how many of them belong to earlier ones.
        self.counts: dict[tuple[str, str, str], tuple[int, int, int]] = {}

    def refer(self, adapters: Ref, round: int) -> None:
        """Take note of the aggregated ``adapters`` after ``round``, which codecs may be fitted to."""
        if self.public is not None:
            self.public.refer(adapters, round)

    def touches(self, kind: str) -> bool:
        """Whether messages of a kind pass codecs, or say something to those of others; all others cross as they are."""
        return bool(self.chains.get(kind)) or (kind == "adapters" and bool(self.chains.get("activation")))

    def prepare(
        self,
        source: str,
        target: str,
        value: Ref,
        kind: str,
        *,
        up: bool,
        round: int,
        attached: int = 0,
        reader: str | None = None,
    ) -> Transmission:
        """``value`` (a tensor [n, D], or a mapping of names to tensors) ready to cross; ``attached`` more bytes go along
        uncoded. ``reader`` decodes it in the receiver's place, if it is not the receiver: another client of the same server
        does so with its own state, anybody else with what is public."""
        context = self._counted(source, target, kind, up, round)
        client, server = (source, target) if up else (target, source)
        cuts = self.cuts(self.stands_for or client)
        if cuts is not None:
            context = replace(context, cuts=cuts)
        if cuts is not None and kind == "adapters" and not up and context.index == 0:
            attached += sum(codec.announced(self.width, round) for codec in self.chains.get("activation", ()))
        chain = resolved(self.chains.get(kind, ()), context, self.public)
        keys, known = partial(self._keys, client, server), self._known(chain)
        end = (target, source) if reader is None else (reader, server)
        return Transmission(
            (source, target),
            value,
            chain,
            context,
            self.endpoints,
            keys=keys,
            known=known,
            attached=attached,
            reader=end,
        )

    def cross(
        self,
        source: str,
        target: str,
        value: Ref,
        kind: str,
        finish: Callable[[Work], tuple[Ref, ...]],
        *,
        up: bool,
        round: int,
        reader: str | None = None,
    ) -> Ref:
        """``value`` as ``target`` receives it, outside simulated time; ``finish`` computes. ``reader`` as in :meth:`prepare`."""

        def compute(node: str, work: Work) -> Verb:
            yield from ()
            return finish(work)

        def carry(size: int) -> Verb:
            yield from ()

        transmission = self.prepare(source, target, value, kind, up=up, round=round, reader=reader)
        try:
            next(transmission.run(compute, carry))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        raise RuntimeError("outside simulated time nothing can be waited for")

    def exchange(
        self, source: str, target: str, x: Tensor, kind: str, *, up: bool, round: int, reader: str | None = None
    ) -> Tensor:
        """``x`` [n, D] as ``target`` receives it: encoded and decoded at once, outside simulated time. ``reader`` as in
        :meth:`prepare`."""
        value = Ref.of(x, TensorSpec(tuple(x.shape), str(x.dtype).removeprefix("torch.")))
        return self.cross(source, target, value, kind, _now, up=up, round=round, reader=reader).value  # type: ignore[no-any-return]

    def rehearsal(self) -> CodecPipeline:
        """A copy that starts from the endpoints' present states; what crosses it leaves no trace in this one."""
        other = copy(self)
        other.endpoints, other.counts = self.endpoints.copied(), dict(self.counts)
        return other

    def under(self, activation: Sequence[Codec], as_client: str | None = None) -> CodecPipeline:
        """A rehearsal from fresh states with other codecs on activations; at the cuts of ``as_client``, whoever sends."""
        other = copy(self)
        other.endpoints, other.counts, other.stands_for = Endpoints(), {}, as_client
        other.chains = self.chains | {"activation": tuple(activation)}
        return other

    def open(self) -> CodecPipeline:
        """A rehearsal from fresh states without what hides from edge servers."""
        other = self.under(())
        other.chains = {
            kind: tuple(codec for codec in chain if codec.hidden_from != "edge") for kind, chain in self.chains.items()
        }
        return other

    def expected_error(self, clients: Iterable[str], round: int) -> float | None:
        """The relative error that codecs of activations expect of states like those of public text that they are fitted to in
        ``round``: the root of the mean square over the cuts of ``clients``; ``None`` where nothing is fitted."""
        squares = []
        found: dict[tuple[int, bool], float | None] = {}
        for client in clients:
            cuts = self.cuts(client)
            for up in (True, False) if cuts is not None else ():
                context = MessageContext("activation", up, round, cuts=cuts or (0, 0))
                if (context.layer, up) not in found:
                    chain = resolved(self.chains.get("activation", ()), context, self.public)
                    errors = (codec.fit_error(self.width, Keys(self.streams.integer("codec"))) for codec in chain)
                    found[context.layer, up] = next((error for error in errors if error is not None), None)
                if (square := found[context.layer, up]) is not None:
                    squares.append(square)
        return sqrt(sum(squares) / len(squares)) if squares else None

    def chain_of(self, activation: Sequence[Codec], client: str, round: int) -> tuple[Codec, ...]:
        """A chain as it is for the activations that ``client`` sends up in ``round``."""
        cuts = self.cuts(client)
        context = MessageContext("activation", True, round, cuts=(0, 0) if cuts is None else cuts)
        return resolved(activation, context, self.public)

    def _counted(self, source: str, target: str, kind: str, up: bool, round: int) -> MessageContext:
        """The place of one more message among those of its kind and way between the two nodes."""
        total, last_round, before = self.counts.get((source, target, kind), (0, round, 0))
        if last_round != round:
            before = total
        self.counts[source, target, kind] = (total + 1, round, before)
        return MessageContext(kind, up, round, total - before, first=total == 0)

    def _keys(self, client: str, server: str, node: str) -> Keys:
        """What ``node`` knows of the wire between the two. One shared seed for the whole run: every client's adapters then see
        the same hashes, and average well."""
        shared = self.streams.integer("codec")
        if node == server:
            return Keys(shared, link=self._secrets("codec-link", client, server))
        if node != client:
            return Keys(shared)
        secret, link = (self._secrets(name, client, server) for name in ("codec-secret", "codec-link"))
        return Keys(shared, secret, link)

    def _secrets(self, name: str, client: str, server: str) -> Secrets:
        draw = self.streams.integer
        return Secrets(draw(name, client), draw(f"{name} of a server", server), draw(f"{name} of all"))

    def _known(self, chain: Sequence[Codec]) -> Mapping[str, Tensor]:
        """The adapters that everyone starts from, where a codec of ``chain`` starts from them, too."""
        looped = any(codec.closes_loop for codec in chain)
        return self.initial.value if looped and self.initial is not None and self.initial.ready else {}


def _now(work: Work) -> tuple[Ref, ...]:
    """The outputs of work whose inputs are there."""
    values: Sequence[Any] = work.function(*[item.value if isinstance(item, Ref) else item for item in work.inputs])
    return tuple(Ref.of(value, spec) for value, spec in zip(values, work.outputs, strict=True))
