"""The measurement: what really crosses the wire at the first cut, attacked under several codec chains.

Attackers are honest but curious. All know the backbone, the aggregated adapters, public text, the codecs and every shared
seed (hashes). An *edge* server sees each payload decoded, as it works on it, and has the keys that hide from the wire only. Who
listens on the *wire* has no key. A *colluder* is an edge server to which one of its clients tells the keys that it has; what
each of its other clients sends is turned back with them. For its own experiments an attacker runs public text through
the same chain without the codecs whose secret it lacks, and through the chain with many keys of its own in their place;
each attack counts with the better of the two. Attacked are texts of the clients' own training data, and counted are tokens
that are not special ones of the tokenizer. A measurement is an instrument: it takes no simulated time and leaves no trace in
the codecs' states.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..codecs.base import Codec
from ..codecs.chain import wire_specs as layout
from ..codecs.public import Sample
from ..codecs.public_text import hidden
from ..codecs.ssop import SSOP
from ..learning.tasks.data import Batch, collate, in_chunks
from . import measures
from .base import Intercepted, Knowledge, PrivacyAttack, View
from .measures import IntArray
from .options import PrivacyOptions

if TYPE_CHECKING:
    from ..base.streams import Streams
    from ..learning.tasks.base import Dataset
    from ..learning.training.model import Model

#: Padded tokens of a batch of public text, at most.
TOKENS = 2048
#: The same where every batch is turned by another key.
TOKENS_PER_KEY = 128


class Wire(typing.Protocol):
    """As much of a codec pipeline as an attacker needs; see ``world.codec_pipeline``."""

    stands_for: str | None

    @property
    def chains(self) -> Mapping[str, Sequence[Codec]]: ...
    def rehearsal(self) -> Wire: ...
    def under(self, activation: Sequence[Codec], as_client: str | None = None) -> Wire: ...
    def chain_of(self, activation: Sequence[Codec], client: str, round: int) -> tuple[Codec, ...]: ...
    def exchange(
        self, source: str, target: str, x: Tensor, kind: str, *, up: bool, round: int, reader: str | None = None
    ) -> Tensor: ...


class Target(typing.Protocol):
    """As much of a client with a cut model as an attacker needs; see ``world.client``."""

    index: int
    name: str
    samples: IntArray

    @property
    def cuts(self) -> tuple[int, int]: ...


C = TypeVar("C", bound=Target)


class Audit(Generic[C]):
    """Attacks what clients send, with given adapters; see the module."""

    def __init__(
        self,
        options: PrivacyOptions,
        model: Model,
        pipeline: Wire,
        clients: Sequence[C],
        server: Callable[[C], str],
        data: Dataset,
        streams: Streams,
        *,
        special: Iterable[int],
        batch_size: int,
    ) -> None:
        self.options, self.model, self.pipeline, self.server = options, model, pipeline, server
        self.data, self.streams, self.batch_size = data, streams, batch_size
        self.attacks = {attack.kind: attack.completed(options) for attack in options.attacks}
        self.special = torch.tensor(sorted(special), dtype=torch.int64)
        #: Clean states of batches with the adapters at hand: they are the same under every chain.
        self._clean: dict[tuple[int, int], Sample] = {}
        self._public = list(in_chunks(data.public, TOKENS, data.pad_id))
        self._per_key = list(in_chunks(data.public, TOKENS_PER_KEY, data.pad_id))
        self._private = {client: batches for client in clients if (batches := self._texts(client, len(clients)))}

    def __call__(self, adapters: Mapping[str, Tensor], round: int) -> list[dict[str, Any]]:
        """Rows per chain: none, the scenario's own (``own``), and those of ``privacy.under``, one for each attacker; first the
        one from whom the chain hides."""
        own = self.pipeline.chains.get("activation", ())
        chains = {"none": (), "own": own, **{label(chain): chain for chain in self.options.under}}
        self._clean.clear()
        rows = [
            self._attacked(name, chain, attacker, adapters, round)
            for name, chain in chains.items()
            for attacker in attackers(chain)
        ]
        self._clean.clear()
        alone = {row["chain"]: row for row in rows if row["attacker"] == "edge"}
        for row in (row for row in rows if row["attacker"] == "colluder"):  # may leave the keys aside
            for kind in self.attacks:
                row[kind] = max((r[kind] for r in (row, alone[row["chain"]]) if r[kind] is not None), default=None)
        aided = [attack.kind for attack in self.options.attacks if attack.needs_pairs]
        for row in rows:
            found = {kind: row[kind] for kind in self.attacks if row[kind] is not None}
            unaided = [share for kind, share in found.items() if kind not in aided]
            row["recovered"], row["unaided"] = (max(each, default=float("nan")) for each in (found.values(), unaided))
            row["of_clean"] = row["recovered"] / rows[0]["recovered"] if rows[0]["recovered"] else float("nan")
        return rows

    def _texts(self, client: C, clients: int) -> list[Batch]:
        """The texts of a client that are attacked, in batches as in training: known ones first."""
        order = self.streams.numpy("privacy", client.index).permutation(client.samples)
        lengths = self.data.train.lengths[order[self.options.known_texts :]]
        share = max(1, self.options.tokens // clients)
        count = self.options.known_texts + int(np.searchsorted(np.cumsum(lengths), share)) + 1
        chosen = order[:count] if len(order) > self.options.known_texts else order[:0]
        size = self.batch_size
        return [collate(self.data.train, chosen[i : i + size], self.data.pad_id) for i in range(0, len(chosen), size)]

    def _attacked(
        self, name: str, chain: Sequence[Codec], attacker: str, adapters: Mapping[str, Tensor], round: int
    ) -> dict[str, Any]:
        pipeline = self.pipeline.rehearsal() if name == "own" else self.pipeline.under(chain)
        readers = self._readers(attacker, pipeline, adapters, round)
        blind = attacker != "edge" or any(codec.hidden_from == "edge" for codec in chain)
        public: dict[int, list[View]] = {}
        scored: list[View] = []
        seen: list[Intercepted] = []
        depths = [client.cuts[0] for client in self._private]
        for client, batches in self._private.items():
            if client.cuts[0] not in public:
                public[client.cuts[0]] = [self._seen(self._open(chain, client), client, self._public, adapters, round)]
                if blind:
                    trial = self.pipeline.under([codec.simulated() for codec in chain], as_client=client.name)
                    reader = LISTENER if attacker == "wire" else None
                    public[client.cuts[0]].append(self._seen(trial, client, self._per_key, adapters, round, reader))
            view = self._seen(pipeline, client, batches, adapters, round, readers[client])
            known, pairs = view.texts < self.options.known_texts, None
            if self.options.known_texts:
                own = self._seen(self._open(chain, client), client, batches, adapters, round)
                pairs = own.payload[known], view.payload[known]
            scored.append(view.take(~known))
            seen.append(Intercepted(scored[-1].payload, scored[-1].texts, pairs))
        view = View.joined(scored)
        read: float | None = None
        counted = ~torch.isin(view.tokens, self.special)
        row: dict[str, Any] = {"chain": name, "attacker": attacker, "codecs": label(chain)}
        row["bytes_per_token"] = self._bytes(chain, round)
        first = {client.cuts[0]: client for client in reversed(self._private)}
        hiding = chain if blind else ()  # to who has the keys nothing is turned
        turned = {depth: self._turned(hiding, first[depth], round) for depth in public}
        trials = [
            {
                depth: Knowledge(each[n], turned[depth][0], self.streams, turned[depth][1])
                for depth, each in public.items()
            }
            for n in range(2 if blind else 1)
        ]
        for kind, attack in self.attacks.items():
            row[kind] = None
            for knowledge in trials if attack is not None else ():
                assert attack is not None
                guess = _guessed(attack, knowledge, seen, depths)
                if guess is None:
                    continue
                share = float((guess == view.tokens)[counted].double().mean())
                row[kind] = max(share, row[kind] or 0.0)
                if attack.reads_texts:
                    found = measures.rouge_l(*(t[counted].numpy() for t in (guess, view.tokens, view.texts)))
                    read = found if read is None else max(read, found)
        row["rouge_l"] = read
        row["cosine"] = measures.cosine(view.payload, view.clean)
        row["mse"] = measures.mean_squared_error(view.payload, view.clean)
        row["tokens"] = int(counted.sum())
        return row

    def _turned(self, chain: Sequence[Codec], client: C, round: int) -> tuple[int, Tensor | None]:
        """How many directions a secret may turn at a client's cut, and which, where everybody knows that."""
        for place, codec in enumerate(self.pipeline.chain_of(chain, client.name, round)):
            if isinstance(codec, SSOP):
                rank = self.model.hidden if codec.rank == "full" else codec.rank
                return rank, codec.known_directions if place == 0 else None  # behind others it turns no states
        return self.options.rank, None

    def _readers(
        self, attacker: str, pipeline: Wire, adapters: Mapping[str, Tensor], round: int
    ) -> dict[C, str | None]:
        """Who reads what each client sends; ``None``: its edge server. Colluders have sent something before."""
        if attacker != "colluder":
            return dict.fromkeys(self._private, None if attacker == "edge" else LISTENER)
        clients, found = list(self._private), dict[C, str | None]()
        for place, client in enumerate(clients):
            others = [
                each for each in clients[place + 1 :] + clients[:place] if self.server(each) == self.server(client)
            ]
            found[client] = others[0].name if others else None
        for client in clients:
            if client.name in found.values():
                self._seen(pipeline, client, self._private[client][:1], adapters, round)
        return found

    def _open(self, chain: Sequence[Codec], client: C) -> Wire:
        """The attacker's own wire: the chain without what takes a secret, to itself, at the client's cut."""
        return self.pipeline.under([codec for codec in chain if codec.hidden_from is None], as_client=client.name)

    def _seen(
        self,
        pipeline: Wire,
        client: C,
        batches: Iterable[Batch],
        adapters: Mapping[str, Tensor],
        round: int,
        reader: str | None = None,
    ) -> View:
        source = client.name if pipeline.stands_for is None else ATTACKER
        views = []
        for batch in batches:
            place = id(batch), client.cuts[0]
            sample = self._clean.get(place) or hidden(self.model.backbone, adapters, [batch], client.cuts[0])
            self._clean[place] = sample
            payload = pipeline.exchange(
                source, self.server(client), sample.states, "activation", up=True, round=round, reader=reader
            )
            tokens = np.concatenate([row[:n] for row, n in zip(batch.tokens, batch.lengths, strict=True)])
            views.append(View(torch.from_numpy(tokens), sample.texts.cpu(), sample.states.cpu(), payload.cpu()))
        return View.joined(views)

    def _bytes(self, chain: Sequence[Codec], round: int) -> float:
        """Bytes of one token of a batch of 256 tokens at the first cut, lengths and headers left out."""
        client = next(iter(self._private))
        resolved = self.pipeline.chain_of(chain, client.name, round)
        spec = self.model.states(256)
        return (sum(buffer.nbytes for buffer in layout(resolved, spec)[1]) if resolved else spec.nbytes) / 256


#: No node has such a name: names hold no ">".
ATTACKER, LISTENER = ">attacker", ">listener"


def attackers(chain: Sequence[Codec]) -> list[str]:
    """Whose attacks are measured: first those from whom the chain hides."""
    guards = {codec.hidden_from for codec in chain}
    return [*(["wire"] if "wire" in guards else []), "edge", *(["colluder"] if "edge" in guards else [])]


def _guessed(
    attack: PrivacyAttack, knowledge: Mapping[int, Knowledge], seen: Sequence[Intercepted], depths: Sequence[int]
) -> Tensor | None:
    """The tokens of all clients in their order, those with the same cut attacked together; ``None`` if any is missing."""
    found: dict[int, Tensor | None] = {}
    for depth, known in knowledge.items():
        mine = [i for i, each in enumerate(depths) if each == depth]
        found |= zip(mine, attack.recover(known, [seen[i] for i in mine]), strict=True)
    guesses = [guess for i in range(len(seen)) if (guess := found[i]) is not None]
    return torch.cat(guesses) if len(guesses) == len(seen) else None


def label(chain: Sequence[Codec]) -> str:
    """A chain in one line: ``ssop(rank=8) + sketch(rows=3, columns=64)``; options that are not the defaults."""

    def one(codec: Codec) -> str:
        given = {name: value for name, value in codec.model_dump(exclude_defaults=True).items() if name != "kind"}
        return codec.kind + (f"({', '.join(f'{n}={v}' for n, v in given.items())})" if given else "")

    return " + ".join(one(codec) for codec in chain) or "none"
