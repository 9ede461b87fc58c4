"""What an evaluation measures: the system as it is deployed, and the clean model beside it.

Where activations pass codecs, a model that was trained behind them is also used behind them: the test samples are dealt to
the clients, each runs its own parts, and states cross with that client's codecs as they are now (its hashes, its
rotation). That is ``accuracy``; ``clean_accuracy`` is that of the unsplit model without codecs on the same adapters.
Without such codecs the two are one.

``client_accuracy_*`` (mean, standard deviation, minimum, Jain's index) is over clients: of the accuracies on the classes of the
test data, weighted as the client's own training samples are. So it tells whom a common model serves badly, without a test
set per client. ``activation_error`` and ``adapters_error`` are the relative errors of the codec chains, of the states that
cross in the evaluation and of the adapters as the first client would send them; ``activation_expected`` is what codecs that are
fitted to public text expect of states like that text's, with the fit of the round. An evaluation leaves no trace in the codecs'
states, and costs no simulated time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..learning.tasks.data import in_chunks
from ..results.staleness import jain
from ..results.training import ERROR
from .client import Client, SplitClient

if TYPE_CHECKING:
    from torch import Tensor

    from ..learning.execution.executor import Executor
    from ..learning.execution.work import Ref
    from ..learning.tasks.base import Dataset
    from ..learning.tasks.data import Batch
    from ..learning.training.model import Model
    from .codec_pipeline import CodecPipeline

#: Padded tokens of a batch, at most.
TOKENS = 1024


class RelativeError:
    """||received - sent|| / ||sent|| over all tensors that were added."""

    def __init__(self) -> None:
        self._lost = self._sent = 0.0

    def add(self, sent: Tensor | Mapping[str, Tensor], received: Tensor | Mapping[str, Tensor]) -> None:
        """Count a tensor, or a mapping of names to tensors, as it was sent and as it was received."""
        if isinstance(sent, Mapping) and isinstance(received, Mapping):
            for name, tensor in sent.items():
                self.add(tensor, received[name])
        elif not isinstance(sent, Mapping) and not isinstance(received, Mapping):
            self._lost += float((received.double() - sent.double()).square().sum())
            self._sent += float(sent.double().square().sum())

    @property
    def value(self) -> float:
        """The relative error; 0 where nothing was sent and nothing received."""
        return (self._lost / self._sent) ** 0.5 if self._sent else 0.0


class Evaluation:
    """Evaluates adapters on the test data of a task; ``server`` of a client is where its Part 2 runs, if it is cut."""

    def __init__(
        self,
        model: Model,
        executor: Executor,
        pipeline: CodecPipeline,
        clients: Sequence[Client],
        server: Callable[[Client], str] | None,
        data: Dataset,
    ) -> None:
        self.model, self.executor, self.pipeline, self.clients = model, executor, pipeline, clients
        self.server = server
        self._whole = list(in_chunks(data.test, TOKENS, data.pad_id))
        self._mix = _mix(data, clients)
        self._errors: dict[str, RelativeError] = {}
        self._untold = any(codec.hidden_from == "edge" for chain in pipeline.chains.values() for codec in chain)
        self._dealt: list[Batch] = []
        pattern = clients[0].pattern if isinstance(clients[0], SplitClient) else None
        if pattern is not None and any(pipeline.chains.get(crossing.kind) for crossing in pattern.forward):
            share = max(1, int(data.test.lengths.sum()) // len(clients))
            self._dealt = list(in_chunks(data.test, min(TOKENS, share), data.pad_id))

    def __call__(self, adapters: Ref, round: int) -> dict[str, float]:
        """Metrics of ``adapters`` after ``round``."""
        finish, model = self.executor.finish, self.model
        clean = [finish(model.evaluate_batch(model.whole, adapters, batch, batch)) for batch in self._whole]
        pipeline = self.pipeline.rehearsal()
        deployed = [self._deployed(pipeline, adapters, index, batch, round) for index, batch in enumerate(self._dealt)]
        metrics = model.score(clean, self._whole)
        self._lose(pipeline, adapters, round)
        errors, self._errors = {f"{kind}{ERROR}": found.value for kind, found in self._errors.items()}, {}
        expected = (
            pipeline.expected_error((client.name for client in self.clients), max(round, 1)) if deployed else None
        )
        if expected is not None:
            errors["activation_expected"] = expected
        if not deployed:
            return metrics | errors | self._per_client(clean, self._whole)
        clean_metrics = {f"clean_{name}": value for name, value in metrics.items()}
        return model.score(deployed, self._dealt) | clean_metrics | errors | self._per_client(deployed, self._dealt)

    def _lose(self, pipeline: CodecPipeline, adapters: Ref, round: int) -> None:
        """Measure what codecs make of the adapters on their way from a client."""
        if not pipeline.chains.get("adapters"):
            return
        client, finish = self.clients[0], self.executor.finish
        target = client.edge if self.server is None else self.server(client)
        received = pipeline.cross(client.name, target, adapters, "adapters", finish, up=True, round=max(round, 1))
        self._count("adapters", adapters, received)

    def _count(self, kind: str, sent: Ref, received: Ref) -> None:
        self._errors.setdefault(kind, RelativeError()).add(sent.value, received.value)

    def _per_client(self, evaluated: Sequence[Sequence[Ref]], batches: Sequence[Batch]) -> dict[str, float]:
        """The accuracy of clients with their mix of classes, summarised."""
        if self._mix is None:
            return {}
        by_class = self.model.accuracy_by_class(evaluated, batches, self._mix.shape[1])
        known = np.isfinite(by_class)
        mass = self._mix[:, known].sum(1)
        each = (self._mix[:, known] @ by_class[known])[mass > 0] / mass[mass > 0]
        index = jain(each)
        found = {"mean": each.mean(), "std": each.std(), "min": each.min(), "jain": 0.0 if index is None else index}
        return {f"client_accuracy_{name}": float(value) for name, value in found.items()}

    def _deployed(
        self, pipeline: CodecPipeline, adapters: Ref, index: int, batch: Batch, round: int
    ) -> tuple[Ref, ...]:
        """A batch through the parts and the crossings of one client."""
        client = self.clients[index % len(self.clients)]
        assert isinstance(client, SplitClient)
        assert self.server is not None
        ends = (client.name, self.server(client))
        x: Ref | Batch = batch
        *path, last = client.pattern.path(client.parts)
        for part, crossing in zip(path, client.pattern.forward, strict=True):
            (states,) = self.executor.finish(self.model.infer(part, adapters, x, batch.lengths))
            source, target = ends if crossing.up else ends[::-1]
            finish = self.executor.finish
            x = received = pipeline.cross(source, target, states, crossing.kind, finish, up=crossing.up, round=round)
            if self._untold:  # what is turned from the edge server is not lost
                open_one = pipeline.open()
                if not open_one.chains.get(crossing.kind):
                    continue
                received = open_one.cross(source, target, states, crossing.kind, finish, up=crossing.up, round=round)
            self._count(crossing.kind, states, received)
        return self.executor.finish(self.model.evaluate_batch(last, adapters, x, batch))


def _mix(data: Dataset, clients: Sequence[Client]) -> np.ndarray | None:
    """Share of each class in each client's samples [clients, classes]; ``None`` without classes or for one client."""
    labels = data.train.labels
    if labels is None or data.test.labels is None or len(clients) < 2:
        return None
    classes = int(max(labels.max(), data.test.labels.max())) + 1
    return np.stack([np.bincount(labels[c.samples], minlength=classes) / len(c.samples) for c in clients])
