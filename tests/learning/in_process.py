"""A worker pool without processes: everything is sent and received as between processes, and computed here."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import cloudpickle
import torch

from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.execution.serialisation import Worker


class InProcess:
    """Workers that are objects; remembers what was sent to them and what came back."""

    notes: Sequence[str] = ()

    def __init__(self, backbone: Backbone, size: int, threads: int, timeout_s: float | None = None) -> None:
        self.size = size
        copied = cloudpickle.dumps(backbone)
        assert pickle.loads(copied) is not backbone
        self._workers = [Worker(copied, torch.get_num_threads()) for _ in range(size)]
        self.tasks: list[bytes] = []
        self.results: list[bytes] = []

    def work(self, tasks: Sequence[bytes], names: Sequence[str]) -> list[bytes]:
        assert len(names) == len(tasks)
        results = [worker.work(task) for worker, task in zip(self._workers, tasks, strict=False)]
        self.tasks.extend(tasks)
        self.results.extend(results)
        return results

    def close(self) -> None:
        pass
