"""What a misbehaving (Byzantine) client does: what labels it holds, and what it sends in place of what it trained.

A client's attack shows where its adapters leave it, so it is the same under every protocol. What is random in it comes
from random streams of its own: the others meet what they meet without misbehaving clients. Clients may collude in what is
drawn once; does not model clients that change their attack, or that adapt to a defence.

Adding an attack is adding one file: a subclass of :class:`Misbehaviour` with ``kind``, its options as fields, and ``send``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from ...base.registry import Component
from ...base.streams import Streams
from ..execution.work import Ref, Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: (adapters received, adapters trained from them, whether this is an upload) -> what the client sends.
Attack: TypeAlias = Callable[[Ref, Ref, bool], "Ref | Work"]


class Misbehaviour(Component):
    """What a misbehaving client does. An option that is ``None`` is that of the same name in the ``unreliable`` section."""

    family: ClassVar[str] = "misbehaviour"
    #: Whether it computes at all.
    trains: ClassVar[bool] = True
    #: Whether it holds other labels than it should; the task must then have classes.
    relabels: ClassVar[bool] = False
    kind: str

    def label_stream(self, client: str) -> tuple[str, ...]:
        """Name of the random stream of :meth:`labels`; clients that share one draw the same, so they collude."""
        return ("flip", client)

    def labels(self, labels: npt.NDArray[np.int64], classes: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The labels that the client holds in place of its own; asked once, of those that relabel."""
        return labels

    def send(self, received: Ref, trained: Ref) -> Ref | Work:
        """What it sends in place of the adapters that it ``trained`` from those it ``received``.

        A piece of work is to be done by the client; its one output is what it sends.
        """
        return trained

    def start(self, client: str, streams: Streams) -> Attack:
        """The attack of one client in a run; what it remembers from one upload to the next is the attack's own."""
        return lambda received, trained, upload: self.send(received, trained)


class MisbehavingClient:
    """What one misbehaving client does in a run."""

    def __init__(self, behaviour: Misbehaviour, client: str, streams: Streams) -> None:
        self.behaviour, self._attack = behaviour, behaviour.start(client, streams)

    @property
    def trains(self) -> bool:
        """Whether it computes at all."""
        return self.behaviour.trains

    def sent(self, received: Ref, trained: Ref, *, upload: bool = True) -> Ref | Work:
        """What it shows in place of what it ``trained``; not every time it is asked for them, that is an ``upload``."""
        return self._attack(received, trained, upload)
