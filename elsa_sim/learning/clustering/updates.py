"""How far a client can be trusted by what it sends: is its change as long as training makes it, and does it lead where others go?

ELSA (arXiv:2601.13824) judges clients by their answers to probes, every few rounds of the cloud; until then one client's
noise has broken the model. So, beyond the paper, an edge server looks at every change Delta_n that it is sent. It also
looks at what it can know by itself, so that most of its own clients may lie:

* *Length.* It trains Part 2 of each client with the optimizer that the client has, so it knows how far steps lead. With r_n the
  root mean square of Delta_n over what client n sent, over that of Part 2's change, v_n the same over the lower median of the
  edge server's clients, and m the lower median of all r_n, the loudness is l_n = min(r_n, v_n max(1, m)): a client must be
  loud against its own Part 2, and against the others unless they are loud as well.
* *Direction.* The first changes of a round of the cloud begin from the same adapters everywhere. When the next round begins, the
  edge server compares them with where *other* edge servers led, D_k = (theta' - theta) - W_k (theta_k - theta), W_k its share of
  the data: c_n = cos(Delta_n, D_k). Its own clients are too few, and too skewed in their labels, to tell. Without other edge
  servers there is no such judgement.

u_n = min(1, (1.5 / l)^2) clip(1 + c / 0.2, 0, 1), where log l halves its memory at every look and c is the mean of all so far.
AdamW keeps l of honest clients near 1 (0.5 to 1.8 on TREC). Does not see: clients that send nothing new, and colluders that change
no more than others and lead where many go (label flippers: they train as everybody does). FLOPs: 5 n m a look at lengths, 9 n m
at directions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..execution.work import Ref, TensorSpec, Work

if TYPE_CHECKING:
    from torch import Tensor

    Adapters: TypeAlias = Mapping[str, Tensor]

#: Loudness up to which nobody is suspect; cosine at which nothing is left of trust; what a look keeps of the one before.
CLEAR, AGAINST, MEMORY = 1.5, -0.2, 0.5
#: The largest logarithm of loudness that is remembered: who sent what is not finite may come back.
LOUDEST = 20.0
#: Operations per number that a client sent.
LENGTH_FLOPS, DIRECTION_FLOPS = 5.0, 9.0


@dataclass(frozen=True)
class Record:
    """What is known of one client: the logarithm of its loudness (``None``: not looked at yet), its cosines' sum and number."""

    loudness: float | None = None
    cosines: float = 0.0
    times: int = 0

    @property
    def score(self) -> float:
        """u in [0, 1]; 1 of a client of whom nothing is known."""
        quiet = 1.0 if self.loudness is None else min(1.0, (CLEAR / math.exp(self.loudness)) ** 2)
        cosine = self.cosines / self.times if self.times else 0.0
        return quiet * float(np.clip(1.0 - cosine / AGAINST, 0.0, 1.0))

    def louder(self, loudness: float) -> Record:
        """After one more look at its length."""
        found = min(math.log(max(loudness, 1.0)), LOUDEST)  # being quiet is no credit for later
        kept = found if self.loudness is None else MEMORY * self.loudness + (1.0 - MEMORY) * found
        return replace(self, loudness=kept)

    def led(self, cosine: float) -> Record:
        """After one more look at its direction."""
        return replace(self, cosines=self.cosines + cosine, times=self.times + 1)


Standing: TypeAlias = Mapping[str, Record]


@dataclass(frozen=True)
class Members:
    """Whom a server judges: ``names``, and of each the tensors that it ``sent`` and those that its server trained for it."""

    names: tuple[str, ...]
    sent: tuple[tuple[str, ...], ...]
    served: tuple[tuple[str, ...], ...]

    def known(self, standings: Sequence[Standing | None]) -> list[Record]:
        """Their records, each from its own entry of ``standings``."""
        return [(s or {}).get(name, Record()) for name, s in zip(self.names, standings, strict=True)]


@dataclass(frozen=True)
class JudgeLengths:
    """(a standing or ``None`` for each, base, adapters of each) -> their standing after one more look, their scores."""

    members: Members

    def __call__(self, *inputs: Any) -> tuple[dict[str, Record], dict[str, float]]:
        count = len(self.members.names)
        standings, base, adapters = inputs[:count], inputs[count], inputs[count + 1 :]
        sent = [_rms(base, each, names) for each, names in zip(adapters, self.members.sent, strict=True)]
        pairs = zip(adapters, self.members.served, strict=True)
        served = [_rms(base, each, names) if names else None for each, names in pairs]
        found = self.members.known(standings)
        after = {n: r.louder(x) for n, r, x in zip(self.members.names, found, loudness(sent, served), strict=True)}
        return after, {name: record.score for name, record in after.items()}


@dataclass(frozen=True)
class JudgeDirections:
    """(standings, theta, theta_k, theta', adapters of each trained from theta) -> standing, scores; ``share`` is W_k."""

    members: Members
    share: float

    def __call__(self, *inputs: Any) -> tuple[dict[str, Record], dict[str, float]]:
        count = len(self.members.names)
        standings, (start, own, now), adapters = inputs[:count], inputs[count : count + 3], inputs[count + 3 :]
        others = {name: (now[name] - t) - self.share * (own[name] - t) for name, t in start.items()}
        after = {}
        for n, record in enumerate(self.members.known(standings)):
            change = {name: adapters[n][name] - start[name] for name in self.members.sent[n]}
            after[self.members.names[n]] = record.led(cosine(change, others))
        return after, {name: record.score for name, record in after.items()}


def loudness(sent: Sequence[float], served: Sequence[float | None]) -> list[float]:
    """l of each client of a server, from root mean squares of what it sent and of what its server trained for it, if any."""
    usual = _lower_median(sent)
    among = [_ratio(each, usual) for each in sent]
    own = [v if b is None else _ratio(a, b) for a, b, v in zip(sent, served, among, strict=True)]
    loud = min(max(1.0, _lower_median(own)), math.exp(LOUDEST))
    return [min(r, v * loud) for r, v in zip(own, among, strict=True)]


def cosine(change: Adapters, others: Adapters) -> float:
    """The cosine of a change with that of others, over the tensors of the first; -1 if it is not finite, 0 of nothing."""
    dot = sum(float((t.double() * others[name]).sum()) for name, t in change.items())
    lengths = [sum(float(each[name].double().square().sum()) for name in change) for each in (change, others)]
    if not math.isfinite(lengths[0]):
        return -1.0
    product = math.sqrt(lengths[0] * lengths[1])
    return dot / product if 0.0 < product < math.inf else 0.0


def judge_lengths(members: Members, standings: Sequence[Ref | None], base: Ref, adapters: Sequence[Ref]) -> Work:
    """Look at how long changes from ``base`` are. Outputs: a :class:`Standing`, and the scores by name."""
    flops = LENGTH_FLOPS * sum(_numel(each, members.sent[n] + members.served[n]) for n, each in enumerate(adapters))
    return Work("judge lengths", JudgeLengths(members), (*standings, base, *adapters), (None, None), flops)


def judge_directions(
    members: Members,
    standings: Sequence[Ref | None],
    thetas: tuple[Ref, Ref, Ref],
    adapters: Sequence[Ref],
    share: float,
) -> Work:
    """Look at where changes lead; ``thetas`` are theta, theta_k, theta'. Outputs as of :func:`judge_lengths`."""
    flops = DIRECTION_FLOPS * sum(_numel(each, members.sent[n]) for n, each in enumerate(adapters))
    kernel = JudgeDirections(members, share)
    return Work("judge directions", kernel, (*standings, *thetas, *adapters), (None, None), flops)


def _numel(adapters: Ref, names: Sequence[str]) -> int:
    assert isinstance(adapters.spec, Mapping)
    shapes: Mapping[str, TensorSpec] = adapters.spec
    return sum(shapes[name].numel for name in names)


def _rms(base: Adapters, after: Adapters, names: Sequence[str]) -> float:
    count = sum(base[name].numel() for name in names)
    square = sum(float((after[name].double() - base[name]).square().sum()) for name in names)
    return math.sqrt(square / count) if math.isfinite(square) else math.inf


def _ratio(a: float, b: float) -> float:
    if math.isinf(a) or b == 0.0:
        return math.inf if a > 0.0 else 1.0
    return a / b


def _lower_median(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]
