"""What an evaluation measures: the system as it is deployed, and the clean model beside it.

Where activations pass codecs, a model that was trained behind them is also used behind them: the test samples are dealt to
the clients, each runs its own parts, and states cross with that client's codecs as they are now (its hashes, its
rotation). That is ``accuracy``; ``clean_accuracy`` is that of the unsplit model without codecs on the same adapters.
Without such codecs the two are one. An evaluation leaves no trace in the codecs' states, and costs no simulated time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from .learning.data import in_chunks

if TYPE_CHECKING:
    from torch import Tensor

    from .learning.data import Batch
    from .learning.executor import Executor
    from .learning.model import Model
    from .learning.tasks.base import Dataset
    from .learning.work import Ref
    from .wire import Wire
    from .world import Client

#: Padded tokens of a batch, at most.
TOKENS = 2048


class Evaluation:
    """Evaluates adapters on the test data of a task; ``server`` of a client is where its Part 2 runs, if it is cut."""

    def __init__(
        self,
        model: Model,
        executor: Executor,
        wire: Wire,
        clients: Sequence[Client],
        server: Callable[[Client], str] | None,
        data: Dataset,
    ) -> None:
        self.model, self.executor, self.wire, self.clients = model, executor, wire, clients
        self.server = server
        self._whole = list(in_chunks(data.test, TOKENS, data.pad_id))
        self._dealt: list[Batch] = []
        if server is not None and wire.chains.get("activation"):
            share = max(1, int(data.test.lengths.sum()) // len(clients))
            self._dealt = list(in_chunks(data.test, min(TOKENS, share), data.pad_id))

    def __call__(self, adapters: Ref, round: int) -> dict[str, float]:
        """Metrics of ``adapters`` after ``round``."""
        return self.executor.time(lambda: self._measure(adapters, round))

    def _measure(self, adapters: Ref, round: int) -> dict[str, float]:
        clean = self.model.evaluate(adapters.value, self._whole)
        if not self._dealt:
            return clean
        wire = self.wire.rehearsal()

        def inference(values: Mapping[str, Tensor], index: int, batch: Batch) -> Tensor:
            client = self.clients[index % len(self.clients)]
            assert client.parts is not None
            assert self.server is not None
            server = self.server(client)

            def crossing(states: Tensor, up: bool) -> Tensor:
                ends = (client.name, server) if up else (server, client.name)
                return wire.exchange(*ends, states, "activation", up=up, round=round)

            return self.model.split(values, batch, client.parts, crossing)

        deployed = self.model.evaluate(adapters.value, self._dealt, inference)
        return deployed | {f"clean_{name}": clean[name] for name in clean}
