"""Flower: its FedAvg strategy on the Ray backend of its simulation engine.

As many Ray actors as there are threads, with one processor and one thread each: the arrangement of Flower's that keeps all
processors busy. Only adapters are sent, as in Flower's fine-tuning examples. Actors are started, and have read texts and the
model, before the first evaluation: that is in the whole time, not in that of the round. The server evaluates, with all
threads. `run_simulation` is deprecated in favour of the command ``flwr run``, which starts the same engine in a process.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # before flwr is imported; nothing here may wait for a network
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import measuring
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

from peers.workload import LR, Classifier, Clock, Workload

client = ClientApp()
_models: dict[str, Classifier] = {}  # of this process: an actor keeps its model between clients


def model_of(sizes: str) -> Classifier:
    """The model of this actor."""
    if sizes not in _models:
        torch.set_num_threads(1)
        _models[sizes] = Workload.of(sizes).model()
    return _models[sizes]


@client.query()
def prepare(message: Message, context: Context) -> Message:
    """Load what the actor needs."""
    model_of(str(message.content["config"]["sizes"]))
    return Message(RecordDict(), reply_to=message)


@client.train()
def train(message: Message, context: Context) -> Message:
    """A client's AdamW steps from the adapters received."""
    sizes = str(message.content["config"]["sizes"])
    model, workload, own = model_of(sizes), Workload.of(sizes), int(context.node_config["partition-id"])
    model.put(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR, weight_decay=0.0)
    data = torch.utils.data.TensorDataset(*workload.drawn(own))
    for both, labels in torch.utils.data.DataLoader(data, batch_size=workload.sizes["batch"]):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(both), labels).backward()
        optimizer.step()
    metrics = MetricRecord({"num-examples": workload.samples[own]})
    return Message(RecordDict({"arrays": ArrayRecord(model.adapters()), "metrics": metrics}), reply_to=message)


def run(sizes: dict[str, Any], threads: int) -> dict[str, float]:
    """One round on ``threads`` actors; processor time is that of all processes, Ray's own included."""
    clock, server, spoken = Clock(), ServerApp(), json.dumps(sizes)
    workload = Workload.of(spoken)
    model = workload.model()
    answered: list[int] = []

    def evaluate(round: int, arrays: ArrayRecord) -> MetricRecord:
        model.put(arrays.to_torch_state_dict())
        accuracy = workload.accuracy(model.model)
        clock.evaluated(accuracy, measuring.tree_cpu_s(os.getpid()))
        return MetricRecord({"accuracy": accuracy})

    def count(replies: list[RecordDict], weighted_by: str) -> MetricRecord:
        answered.append(len(replies))
        return MetricRecord({"replies": len(replies)})

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        config = ConfigRecord({"sizes": spoken})
        while len(list(grid.get_node_ids())) < sizes["clients"]:  # the engine starts beside the server
            time.sleep(0.1)
        ready = [
            Message(RecordDict({"config": config}), message_type="query", dst_node_id=node)
            for node in grid.get_node_ids()
        ]
        failed = [reply.error.reason for reply in grid.send_and_receive(ready) if reply.has_error()]
        if failed:
            raise RuntimeError(failed[0])
        FedAvg(fraction_evaluate=0.0, train_metrics_aggr_fn=count).start(
            grid, ArrayRecord(model.adapters()), num_rounds=1, train_config=config, evaluate_fn=evaluate
        )

    backend = {"init_args": {"num_cpus": threads}, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, client, num_supernodes=sizes["clients"], backend_config=backend)
    if answered != [sizes["clients"]]:  # Flower goes on without clients that fail
        raise RuntimeError(f"replies of {answered} clients, not of {sizes['clients']}")
    return clock.found() | {"cpu_s": clock.ends[-1][1]}
