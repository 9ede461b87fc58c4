"""pfl-research: FederatedAveraging on its SimulatedBackend, one process."""

from __future__ import annotations

from typing import Any

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightingStrategy
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from peers.workload import LR, Classifier, Clock, Workload


class ForPfl(Classifier):
    """The model with the two methods that pfl calls."""

    def loss(self, both: Tensor, labels: Tensor, eval: bool = False) -> Tensor:
        return nn.functional.cross_entropy(self(both), labels)

    def metrics(self, both: Tensor, labels: Tensor, eval: bool = True) -> dict[str, Any]:
        with torch.no_grad():
            return {"loss": Weighted(float(self.loss(both, labels)) * len(labels), len(labels))}


def run(sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """One round; ``threads`` is what PyTorch was told."""
    clock = Clock()
    workload = Workload(sizes)
    model = ForPfl(workload.prepared.model())

    class BySamples(WeightingStrategy):
        """Weights by a client's samples; pfl's own weighting counts the texts of the round, equal for all here."""

        def postprocess_one_user(self, *, stats: Any, user_context: Any) -> tuple[Any, Metrics]:
            stats.reweight(workload.samples[int(user_context.user_id)])
            return stats, Metrics()

    users = iter(range(sizes["clients"]))
    training = FederatedDataset(
        lambda user: Dataset(raw_data=list(workload.drawn(user)), user_id=str(user)), lambda: next(users)
    )
    wrapped = PyTorchModel(
        model=model,
        local_optimizer_create=lambda parameters, lr: torch.optim.AdamW(
            [p for p in parameters if p.requires_grad], lr=lr, weight_decay=0.0
        ),
        central_optimizer=torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0),
    )
    backend = SimulatedBackend(training, training, postprocessors=[BySamples()])

    class Evaluation:
        """Calls this benchmark's evaluation after the round, as a callback of pfl."""

        def __getattr__(self, name: str) -> Any:
            def hook(*arguments: Any, **named: Any) -> Any:
                if name == "after_central_iteration":
                    clock.evaluated(workload.accuracy(model.model))
                    return False, Metrics()
                return Metrics() if name == "on_train_begin" else None

            return hook

    clock.evaluated(workload.accuracy(model.model))
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(central_num_iterations=1, evaluation_frequency=10**9,
                                           train_cohort_size=sizes["clients"], val_cohort_size=0),
        backend=backend,
        model=wrapped,
        model_train_params=NNTrainHyperParams(local_num_epochs=1, local_learning_rate=LR, local_batch_size=sizes["batch"]),
        callbacks=[Evaluation()],
        send_metrics_to_platform=False,
    )  # fmt: skip
    return clock.found()
