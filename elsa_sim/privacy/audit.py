"""The measurement: what really crosses the wire at the first cut, attacked under several codec chains.

The attacker is an honest-but-curious edge server. It knows the backbone, the aggregated adapters, public text, the codecs
and every shared seed (hashes), but no client's secret (Q of `ssop`). It sees each payload decoded, as it works on it. For
its own experiments it runs public text through the same chain without the codecs that need a secret. Attacked are texts
of the clients' own training data, and counted are tokens that are not special ones of the tokenizer. A measurement is
an instrument: it takes no simulated time and leaves no trace in the codecs' states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..codecs.base import Codec
from ..codecs.base import wire_specs as layout
from ..codecs.public import Sample
from ..codecs.public_text import hidden
from ..codecs.ssop import SSOP
from ..learning.execution.work import TensorSpec
from ..learning.tasks.data import Batch, collate, in_chunks
from . import identify, measures
from .inversion import invert
from .options import PrivacyOptions

if TYPE_CHECKING:
    from ..base.streams import Streams
    from ..learning.tasks.base import Dataset
    from ..learning.training.model import Model
    from ..world.client import SplitClient
    from ..world.codec_pipeline import CodecPipeline

#: Padded tokens of a batch of public text, at most.
TOKENS = 2048


@dataclass(frozen=True)
class View:
    """Tokens, the numbers of their texts, clean states and payloads as the server reads them; one row per token."""

    tokens: Tensor
    texts: Tensor
    clean: Tensor
    payload: Tensor

    def take(self, rows: Tensor) -> View:
        """The rows where ``rows`` is true."""
        return View(self.tokens[rows], self.texts[rows], self.clean[rows], self.payload[rows])

    @classmethod
    def joined(cls, views: Sequence[View]) -> View:
        """All rows, texts numbered anew."""
        starts = np.cumsum([0, *(int(view.texts.max()) + 1 for view in views[:-1])])
        texts = [view.texts + int(start) for view, start in zip(views, starts, strict=True)]
        tokens, clean, payload = ([getattr(v, name) for v in views] for name in ("tokens", "clean", "payload"))
        return cls(torch.cat(tokens), torch.cat(texts), torch.cat(clean), torch.cat(payload))


class Audit:
    """Attacks what clients send, with given adapters; see the module."""

    def __init__(
        self,
        options: PrivacyOptions,
        model: Model,
        pipeline: CodecPipeline,
        clients: Sequence[SplitClient],
        server: Callable[[SplitClient], str],
        data: Dataset,
        streams: Streams,
        *,
        special: Iterable[int],
        batch_size: int,
    ) -> None:
        self.options, self.model, self.pipeline, self.server = options, model, pipeline, server
        self.data, self.streams, self.batch_size = data, streams, batch_size
        self.special = torch.tensor(sorted(special), dtype=torch.int64)
        #: Clean states of batches with the adapters at hand: they are the same under every chain.
        self._clean: dict[tuple[int, int], Sample] = {}
        self._public = list(in_chunks(data.public, TOKENS, data.pad_id))
        self._private = {client: batches for client in clients if (batches := self._texts(client, len(clients)))}

    def __call__(self, adapters: Mapping[str, Tensor], round: int) -> list[dict[str, Any]]:
        """One row per chain: none, the scenario's own (``own``), and those of ``privacy.under``."""
        own = self.pipeline.chains.get("activation", ())
        chains = {"none": (), "own": own, **{label(chain): chain for chain in self.options.under}}
        self._clean.clear()
        rows = [self._attacked(name, chain, adapters, round) for name, chain in chains.items()]
        self._clean.clear()
        for row in rows:
            row["recovered"] = max(value for name, value in row.items() if name in ATTACKS and value is not None)
            row["of_clean"] = row["recovered"] / rows[0]["recovered"] if rows[0]["recovered"] else float("nan")
        return rows

    def _texts(self, client: SplitClient, clients: int) -> list[Batch]:
        """The texts of a client that are attacked, in batches as in training: known ones first."""
        order = self.streams.numpy("privacy", client.index).permutation(client.samples)
        lengths = self.data.train.lengths[order[self.options.known_texts :]]
        share = max(1, self.options.tokens // clients)
        count = self.options.known_texts + int(np.searchsorted(np.cumsum(lengths), share)) + 1
        chosen = order[:count] if len(order) > self.options.known_texts else order[:0]
        size = self.batch_size
        return [collate(self.data.train, chosen[i : i + size], self.data.pad_id) for i in range(0, len(chosen), size)]

    def _attacked(
        self, name: str, chain: Sequence[Codec], adapters: Mapping[str, Tensor], round: int
    ) -> dict[str, Any]:
        pipeline = self.pipeline.rehearsal() if name == "own" else self.pipeline.under(chain)
        public: dict[int, tuple[View, identify.Known, Tensor]] = {}
        scored: list[View] = []
        guesses: dict[str, list[Tensor]] = {"nearest_mean": [], "complement": [], "discriminant": [], "procrustes": []}
        depths: list[int] = []
        for client, batches in self._private.items():
            depth = client.cuts[0]
            if depth not in public:
                public[depth] = self._prepared(chain, client, adapters, round)
            _, known, basis = public[depth]
            seen = self._seen(pipeline, client, batches, adapters, round)
            pairs = seen.take(seen.texts < self.options.known_texts)
            rest = seen.take(seen.texts >= self.options.known_texts)
            scored.append(rest)
            depths.append(depth)
            guesses["nearest_mean"].append(identify.nearest_mean(known, rest.payload))
            guesses["complement"].append(identify.nearest_mean(known, rest.payload, basis))
            guesses["discriminant"].append(identify.discriminant(known, rest.payload))
            if self.options.known_texts:
                simulated = self._seen(self._open(chain, client), client, batches, adapters, round)
                turn = identify.procrustes(simulated.take(seen.texts < self.options.known_texts).payload, pairs.payload)
                turned = (rest.payload.double() @ turn.t()).float()
                guesses["procrustes"].append(identify.discriminant(known, turned))
        view = View.joined(scored)
        counted = ~torch.isin(view.tokens, self.special)
        row: dict[str, Any] = {"chain": name, "codecs": label(chain), "bytes_per_token": self._bytes(chain, round)}
        for attack in ATTACKS[:-1]:
            found = torch.cat(guesses[attack]) if guesses[attack] else None
            row[attack] = None if found is None else float((found == view.tokens)[counted].double().mean())
        row["inversion"] = row["rouge_l"] = None
        if self.options.inversion is not None:
            inverted = torch.cat([
                invert(known_view.payload, known_view.tokens, known_view.texts, mine.payload, mine.texts,
                       self.options.inversion, self.streams.integer("privacy", "inversion"))
                for depth, (known_view, _, _) in public.items()
                if (mine := View.joined([v for v, d in zip(scored, depths, strict=True) if d == depth]))
            ])  # fmt: skip
            order = torch.cat([_rows(scored, depths, depth) for depth in public])
            guess = torch.empty_like(view.tokens)
            guess[order] = inverted
            row["inversion"] = float((guess == view.tokens)[counted].double().mean())
            row["rouge_l"] = measures.rouge_l(*(t[counted].numpy() for t in (guess, view.tokens, view.texts)))
        row["cosine"] = measures.cosine(view.payload, view.clean)
        row["mse"] = measures.mean_squared_error(view.payload, view.clean)
        row["tokens"] = int(counted.sum())
        return row

    def _prepared(
        self, chain: Sequence[Codec], client: SplitClient, adapters: Mapping[str, Tensor], round: int
    ) -> tuple[View, identify.Known, Tensor]:
        """What the attacker makes of public text at the client's cut: its view, its classes, its complement."""
        view = self._seen(self._open(chain, client), client, self._public, adapters, round)
        ranks = [codec.rank for codec in chain if isinstance(codec, SSOP)]
        basis = identify.complement(view.clean, max(ranks, default=self.options.rank))
        return view, identify.Known.of(view.payload, view.tokens), basis

    def _open(self, chain: Sequence[Codec], client: SplitClient) -> CodecPipeline:
        """The attacker's own wire: the chain without what takes a secret, to itself, at the client's cut."""
        return self.pipeline.under([codec for codec in chain if not codec.secret], as_client=client.name)

    def _seen(
        self,
        pipeline: CodecPipeline,
        client: SplitClient,
        batches: Iterable[Batch],
        adapters: Mapping[str, Tensor],
        round: int,
    ) -> View:
        source = client.name if pipeline.stands_for is None else ATTACKER
        views = []
        for batch in batches:
            place = id(batch), client.cuts[0]
            sample = self._clean.get(place) or hidden(self.model, adapters, [batch], client.cuts[0])
            self._clean[place] = sample
            payload = pipeline.exchange(source, self.server(client), sample.states, "activation", up=True, round=round)
            tokens = np.concatenate([row[:n] for row, n in zip(batch.tokens, batch.lengths, strict=True)])
            views.append(View(torch.from_numpy(tokens), sample.texts.cpu(), sample.states.cpu(), payload.cpu()))
        return View.joined(views)

    def _bytes(self, chain: Sequence[Codec], round: int) -> float:
        """Bytes of one token of a batch of 256 tokens at the first cut, lengths and headers left out."""
        client = next(iter(self._private))
        resolved = self.pipeline.chain_of(chain, client.name, round)
        spec = TensorSpec((256, self.model.hidden))
        return sum(buffer.nbytes for buffer in layout(resolved, spec)[1]) / 256 if resolved else 4.0 * self.model.hidden


#: Columns that are shares of tokens recovered, each by one attack; the last is the trained one.
ATTACKS = ("nearest_mean", "complement", "discriminant", "procrustes", "inversion")
ATTACKER = "attacker"


def _rows(views: Sequence[View], depths: Sequence[int], depth: int) -> Tensor:
    """Where the rows of the clients cut at ``depth`` stand among the rows of all."""
    starts = np.cumsum([0, *(len(view.tokens) for view in views)])
    mine = [torch.arange(int(a), int(b)) for (a, b), d in zip(pairwise(starts), depths, strict=True) if d == depth]
    return torch.cat(mine)


def label(chain: Sequence[Codec]) -> str:
    """A chain in one line: ``ssop(rank=8) + sketch(rows=3, columns=64)``; options that are not the defaults."""

    def one(codec: Codec) -> str:
        given = {name: value for name, value in codec.model_dump(exclude_defaults=True).items() if name != "kind"}
        return codec.kind + (f"({', '.join(f'{n}={v}' for n, v in given.items())})" if given else "")

    return " + ".join(one(codec) for codec in chain) or "none"
