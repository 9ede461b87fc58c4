"""FLGo: its FedAvg on a task of `flgo_task`, generated into a temporary folder.

Whole models are copied to clients, scaled and summed, frozen parameters included: that is how FLGo treats models. A model
that FLGo makes anew (one per scaled model) is a copy of one that is loaded, not read from disk.
"""

from __future__ import annotations

import copy
import os
import tempfile
from typing import Any

import flgo
import flgo.algorithm.fedavg as fedavg
from flgo.experiment.logger import BasicLogger

from peers.workload import LR, Clock, Workload


class Server(fedavg.Server):
    """FLGo's server; clients' weights are their samples, not the texts of the round."""

    workload: Workload

    def initialize(self, *arguments: Any, **named: Any) -> None:
        for client, samples in zip(self.clients, self.workload.samples, strict=True):
            client.datavol = samples


def run(sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """One round, clients one after another; ``threads`` is what PyTorch was told."""
    clock, workload = Clock(), Workload(sizes)
    model = workload.model()

    class Evaluation(BasicLogger):
        """Calls this benchmark's evaluation, as a logger of FLGo; it is called before the first round, and after each."""

        def log_once(self, *arguments: Any, **named: Any) -> None:
            clock.evaluated(workload.accuracy(self.coordinator.model.model.model))

    class Algorithm:
        """FedAvg, as an algorithm of FLGo."""

        Server = type("Server", (Server,), {"workload": workload})
        Client = fedavg.Client

    def get_model() -> Any:
        return copy.deepcopy(model)

    option = {"num_rounds": 1, "num_steps": sizes["steps"], "batch_size": sizes["batch"], "optimizer": "AdamW",
              "learning_rate": LR, "weight_decay": 0.0, "sample": "full", "proportion": 1.0, "aggregate": "other",
              "train_holdout": 0.0, "test_holdout": 0.0, "gpu": [], "no_log_console": True, "no_tqdm": True,
              "torch_num_threads": threads}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        task = os.path.join(folder, "task")
        made = flgo.gen_task({"benchmark": {"name": "peers.flgo_task", "para": {"sizes": sizes}}}, task)
        if made is None:
            raise RuntimeError("FLGo generated no task")
        runner = flgo.init(
            task, Algorithm, option, model=flgo.convert_model(get_model, "classifier"), Logger=Evaluation
        )
        runner.run()
    return clock.found()
