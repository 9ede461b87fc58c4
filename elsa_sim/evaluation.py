"""What an evaluation measures: the system as it is deployed, and the clean model beside it.

Where activations pass codecs, a model that was trained behind them is also used behind them: the test samples are dealt to
the clients, each runs its own parts, and states cross with that client's codecs as they are now (its hashes, its
rotation). That is ``accuracy``; ``clean_accuracy`` is that of the unsplit model without codecs on the same adapters.
Without such codecs the two are one. An evaluation leaves no trace in the codecs' states, and costs no simulated time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .learning.data import in_chunks

if TYPE_CHECKING:
    from torch import Tensor

    from .assembly import Plan
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
    """Evaluates adapters on the test data of a task."""

    def __init__(
        self, model: Model, executor: Executor, wire: Wire, clients: Sequence[Client], plan: Plan, data: Dataset
    ) -> None:
        self.model, self.executor, self.wire, self.clients = model, executor, wire, clients
        self.server, self.cloud = plan.scenario.protocol.server, plan.topology.names("cloud")[0]
        self._whole = list(in_chunks(data.test, TOKENS, data.pad_id))
        self._dealt: list[Batch] = []
        if self.server is not None and wire.chains.get("activation"):
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
            server = client.edge if self.server == "edge" else self.cloud
            assert client.parts is not None

            def crossing(states: Tensor, up: bool) -> Tensor:
                ends = (client.name, server) if up else (server, client.name)
                return wire.exchange(*ends, states, "activation", up=up, round=round)

            return self.model.split(values, batch, client.parts, crossing)

        deployed = self.model.evaluate(adapters.value, self._dealt, inference)
        return deployed | {f"clean_{name}": clean[name] for name in clean}
