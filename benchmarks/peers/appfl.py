"""APPFL: a serial simulation with its server and client agents, FedAvgAggregator and VanillaTrainer.

A client agent holds a model of its own, as in APPFL's serial examples, so memory grows with clients. Of a model only adapters
are sent. `optimize_memory` is off: with APPFL's default it collects garbage several times for every client, which is most of
the time of a small model (20 clients of W-tiny with two steps: 40 of 48 s).
"""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import numpy as np
from appfl.agent import ClientAgent, ServerAgent
from appfl.algorithm.trainer import VanillaTrainer
from appfl.config import ClientAgentConfig, ServerAgentConfig
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import TensorDataset

from peers.workload import LR, Classifier, Clock, Workload

LEAN = {"optimize_memory": False}


def hits(labels: np.ndarray, logits: np.ndarray) -> float:
    """Share of right answers, which APPFL's trainer logs."""
    return float((logits.argmax(-1) == labels).mean())


class Adapters(VanillaTrainer):
    """Sends what is trained, and nothing of the frozen backbone."""

    def get_parameters(self) -> Any:
        state, metadata = super().get_parameters()
        return {name: state[name] for name, p in self.model.named_parameters() if p.requires_grad}, metadata


class Client(ClientAgent):
    """An agent that is given its model and its texts as objects, not as files."""

    def __init__(self, config: ClientAgentConfig, model: Classifier, data: TensorDataset) -> None:
        self.given = (model, data)
        super().__init__(config)

    def _load_model(self) -> None:
        self.model = self.given[0]

    def _load_data(self) -> None:
        self.train_dataset, self.val_dataset = self.given[1], None

    def _load_loss(self) -> None:
        self.loss_fn = nn.CrossEntropyLoss()

    def _load_metric(self) -> None:
        self.metric = hits

    def _load_trainer(self) -> None:
        self.trainer = Adapters(model=self.model, loss_fn=self.loss_fn, metric=self.metric, train_dataset=self.train_dataset,
                                train_configs=self.client_agent_config.train_configs, logger=self.logger)  # fmt: skip


class Server(ServerAgent):
    """An agent that is given its model as an object."""

    def __init__(self, config: ServerAgentConfig, model: Classifier) -> None:
        self.given = model
        super().__init__(config)

    def _load_model(self) -> None:
        self.model = self.given


def run(sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """One round, clients one after another; ``threads`` is what PyTorch was told."""
    clock, workload = Clock(), Workload(sizes)
    model = workload.model()
    with tempfile.TemporaryDirectory() as logs:
        server_configs = {"num_clients": sizes["clients"], "num_global_epochs": 1, **LEAN, "logging_output_dirname": logs,
                          "scheduler": "SyncScheduler", "scheduler_kwargs": LEAN,
                          "aggregator": "FedAvgAggregator",
                          "aggregator_kwargs": {"client_weights_mode": "sample_size"} | LEAN}  # fmt: skip
        train_configs = {**LEAN, "trainer": "VanillaTrainer", "mode": "step", "num_local_steps": sizes["steps"], "device": "cpu",
                         "optim": "AdamW", "optim_args": {"lr": LR, "weight_decay": 0.0}, "logging_output_dirname": logs,
                         "train_batch_size": sizes["batch"], "train_data_shuffle": False}  # fmt: skip
        server = Server(
            ServerAgentConfig(
                client_configs=OmegaConf.create({"train_configs": {}}), server_configs=OmegaConf.create(server_configs)
            ),
            model,
        )
        clients = []
        for index in range(sizes["clients"]):
            config = OmegaConf.structured(ClientAgentConfig(train_configs=OmegaConf.create(train_configs)))
            OmegaConf.set_struct(config, False)
            config.optimize_memory = False
            config.client_id = f"client {index}"
            clients.append(Client(config, copy.deepcopy(model), TensorDataset(*workload.drawn(index))))
        first = server.get_parameters(serial_run=True)
        for client, samples in zip(clients, workload.samples, strict=True):
            client.load_parameters(first)
            server.set_sample_size(client.get_id(), samples)
        clock.evaluated(workload.accuracy(model.model))
        while not server.training_finished():
            updates = []
            for client in clients:
                client.train()
                local, metadata = client.get_parameters()
                updates.append(server.global_update(client.get_id(), local, blocking=False, **metadata))
            for client, update in zip(clients, updates, strict=True):
                client.load_parameters(update.result())
            clock.evaluated(workload.accuracy(server.model.model))
    return clock.found()
