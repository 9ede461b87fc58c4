"""Generator, pipe and calculator of the workload, by the names that FLGo looks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from flgo.benchmark.base import BasicTaskCalculator, BasicTaskGenerator, BasicTaskPipe
from torch.utils.data import DataLoader, TensorDataset

from peers.workload import Workload


class TaskGenerator(BasicTaskGenerator):
    """The partition is the workload's, so nothing is drawn here."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__("flgo_task", "")
        self.sizes, self.num_clients = sizes, sizes["clients"]

    def get_task_name(self) -> str:
        return "workload"


class TaskPipe(BasicTaskPipe):
    """Keeps the sizes in the task's folder, and makes clients' texts from them."""

    TaskDataset = TensorDataset

    def save_task(self, generator: TaskGenerator) -> None:
        kept = {"client_names": self.gen_client_names(generator.num_clients), "sizes": generator.sizes}
        Path(self.task_path, "data.json").write_text(json.dumps(kept))

    def load_data(self, running_time_option: dict[str, Any]) -> dict[str, Any]:
        workload = Workload(self.feddata["sizes"])
        names = enumerate(self.feddata["client_names"])
        clients = {name: {"train": TensorDataset(*workload.drawn(index)), "val": None} for index, name in names}
        return {"server": {"test": None, "val": None}, **clients}


class TaskCalculator(BasicTaskCalculator):
    """Loss and batches; FLGo's optimizer is that of the option."""

    def __init__(self, device: torch.device, optimizer_name: str = "AdamW") -> None:
        super().__init__(device, optimizer_name)
        self.criterion = torch.nn.CrossEntropyLoss()

    def to_device(self, data: Any, *arguments: Any, **named: Any) -> Any:
        return [each.to(self.device) for each in data]

    def get_dataloader(self, dataset: Any, batch_size: int = 64, *arguments: Any, **named: Any) -> DataLoader:
        return DataLoader(dataset, batch_size=batch_size)  # in the bare loop's order

    def compute_loss(self, model: Any, data: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        both, labels = self.to_device(data)
        return {"loss": self.criterion(model(both), labels)}
