"""What happens when a round has ended and was measured: each consequence is an observer of its own, told in a stated order.

Rows of the event table, the check for divergence, the progress of a run, the radio and the rules to stop are such observers;
whatever else has to happen then (a sink, a checkpoint) is one more, and the world need not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..base.errors import Divergence
from ..results.event_table import Recorder

if TYPE_CHECKING:
    from ..learning.execution.work import Ref
    from ..wireless import Radio


#: (what is asked for, what finds it in values) -> what it finds; see :meth:`.world.World.read`.
Read: TypeAlias = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class RoundEnd:
    """The end of ``round`` at simulated time ``now`` (s): the aggregated ``adapters``, and what was measured."""

    round: int
    now: float
    adapters: Ref
    metrics: Mapping[str, float]
    live: bool = True
    """Whether there are values, or will be; in what a resumed run plays again, ``adapters`` have none."""


class RoundObserver:
    """Is told when a round has ended, and what clients have trained until then; the default does nothing."""

    def trained(self, client: str, adapters: Sequence[Ref]) -> None:
        """A client has trained; ``adapters`` are mappings of disjoint names, a server's copy of its part among them."""

    def measures(self) -> Mapping[str, float]:
        """What it adds to the metrics of the round that ends now."""
        return {}

    def ended(self, end: RoundEnd) -> None:
        """A round has ended."""

    def stops(self, end: RoundEnd) -> bool:
        """Whether the run is to stop after this round."""
        return False


class RoundObservers:
    """All observers of a run, in the order in which they are told."""

    def __init__(self, observers: Iterable[RoundObserver]) -> None:
        self.observers = tuple(observers)

    def trained(self, client: str, adapters: Sequence[Ref]) -> None:
        """Tell all observers what a client has trained."""
        for observer in self.observers:
            observer.trained(client, adapters)

    def end(self, round: int, now: float, adapters: Ref, metrics: Mapping[str, float], *, live: bool = True) -> bool:
        """A round has ended, and its test gave ``metrics``; returns whether one of the observers stops the run."""
        every = dict(metrics)
        for observer in self.observers:
            every |= observer.measures()
        end = RoundEnd(round, now, adapters, every, live)
        for observer in self.observers:
            observer.ended(end)
        return any(observer.stops(end) for observer in self.observers)


class TrainingLoss(RoundObserver):
    """Adds the mean loss of the local steps since the last round (``train_loss``), where there is arithmetic."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._losses: list[Ref] = []

    def add(self, loss: Ref) -> None:
        """Count the loss of one local step."""
        self._losses.append(loss)

    def measures(self) -> Mapping[str, float]:
        losses, self._losses = self._losses, []
        mean = self._read("loss", lambda: float(np.mean([float(loss.value) for loss in losses]))) if losses else None
        return {} if mean is None else {"train_loss": mean}


class Notes(RoundObserver):
    """Rows of what nodes found out in a round: written when it ends, as until then their arithmetic need not have run."""

    def __init__(self, recorder: Recorder, read: Read) -> None:
        self.recorder, self._read = recorder, read
        self._notes: list[tuple[Ref, str, int, str]] = []

    def add(self, found: Ref, node: str, round: int, detail: str) -> None:
        """Note what ``node`` found out: a mapping of names to numbers."""
        self._notes.append((found, node, round, detail))

    def ended(self, end: RoundEnd) -> None:
        notes, self._notes = self._notes, []
        for found, node, round, detail in notes:
            facts = self._read(detail, partial(_value, found)) or {}
            self.recorder.add("update", end.now, end.now, node, round=round, detail=detail, metrics=facts)


def _value(found: Ref) -> Any:
    return found.value


class EvaluationRow(RoundObserver):
    """Writes the row of an evaluation at ``node``, and all rows so far to the disk."""

    def __init__(self, recorder: Recorder, node: str) -> None:
        self.recorder, self.node = recorder, node

    def ended(self, end: RoundEnd) -> None:
        self.recorder.add(
            "evaluation", end.now, end.now, self.node, round=end.round, detail="test", metrics=end.metrics
        )
        self.recorder.flush()


class DivergenceCheck(RoundObserver):
    """Fails a run whose metrics are not finite any more."""

    def ended(self, end: RoundEnd) -> None:
        """Check the metrics.

        Raises:
            Divergence: one of them is not finite.
        """
        for name, value in end.metrics.items():
            if not np.isfinite(value):
                if not end.round:
                    why = "nothing was trained yet, so the backbone, the codecs or the data are at fault"
                    raise Divergence(f"{name} is {value} at the first evaluation: {why}")
                what = f"{name} is {value} after round {end.round}"
                raise Divergence(f"{what}: training diverged; lower protocol.lr")


class Latest(RoundObserver):
    """Keeps the round that ended last."""

    def __init__(self) -> None:
        self.end: RoundEnd | None = None

    def ended(self, end: RoundEnd) -> None:
        self.end = end

    @property
    def broken(self) -> Sequence[str]:
        """Its adapters that are not finite, as violated invariants; none where there is no arithmetic."""
        if self.end is None or not self.end.adapters.ready:
            return []
        adapters = self.end.adapters.value
        return [f"adapter {name} is not finite" for name, t in adapters.items() if not bool(t.isfinite().all())]


class Reallocation(RoundObserver):
    """Has a radio give out its subchannels anew after every round, and not before the first."""

    def __init__(self, radio: Radio) -> None:
        self.radio = radio

    def ended(self, end: RoundEnd) -> None:
        if end.round:
            self.radio.reallocate()
