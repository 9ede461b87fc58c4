"""What every simulator here is given: the bare loop's model, each client's batches as arrays, weights, evaluation."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import torch
from bare import Prepared, accuracy, tensors
from torch import Tensor, nn

LR = 2e-3


class Classifier(nn.Module):
    """Logits [B, classes] of token ids and mask stacked as [B, 2, T]: one input, as these simulators give. Dropout stays off."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, both: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=both[:, 0], attention_mask=both[:, 1]).logits
        return logits

    def train(self, mode: bool = True) -> Classifier:
        """Leave dropout off, as it is in this program."""
        return super().train(False)

    def adapters(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def put(self, state: dict[str, Tensor]) -> None:
        """Take these adapters over."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(state[name])


class Workload:
    """Tokens, batches and a model, read and tokenised anew in every process that needs them."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        self.sizes, self.prepared = sizes, Prepared(sizes)
        self.samples = [len(samples) for samples in self.prepared.samples]
        small = min(self.samples)
        if small < sizes["batch"]:
            raise ValueError(f"a client has {small} texts: its batches are smaller than {sizes['batch']}")

    @staticmethod
    def of(sizes: str) -> Workload:
        """That of these sizes (JSON), once per process."""
        return _known(sizes)

    def model(self) -> Classifier:
        """A fresh model, the same every time."""
        return Classifier(self.prepared.model())

    @functools.cache  # noqa: B019 - lives as long as the process
    def drawn(self, client: int) -> tuple[Tensor, Tensor]:
        """A client's texts of the round in the bare loop's order: ids and masks [N, 2, T], labels [N], N = steps * batch."""
        pad = self.prepared.data.pad_id
        batches = [tensors(next(self.prepared.batches[client]), "fixed", pad) for _ in range(self.sizes["steps"])]
        both = [torch.stack((tokens, mask), dim=1) for tokens, mask, _ in batches]
        return torch.cat(both), torch.cat([labels for *_, labels in batches])

    def accuracy(self, model: nn.Module) -> float:
        """Accuracy on the test texts, in the bare loop's batches."""
        return accuracy(model, self.prepared.test)


@functools.cache
def _known(sizes: str) -> Workload:
    return Workload(json.loads(sizes))


class Clock:
    """Accuracies, with host time at the end of every evaluation."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.ends: list[tuple[float, float, float]] = []

    def evaluated(self, accuracy: float, cpu_s: float | None = None) -> None:
        """An evaluation has ended; ``cpu_s`` is the processor time so far, of this process where it is not given."""
        self.ends.append((time.perf_counter(), time.process_time() if cpu_s is None else cpu_s, accuracy))

    def found(self) -> dict[str, float]:
        """The row of the table: from the end of the first evaluation to that of the last."""
        if len(self.ends) != 2:
            raise RuntimeError(f"{len(self.ends)} evaluations, not one before and one after the round")
        (start, before, _), (end, after, accuracy) = self.ends
        return {"wall_s": time.perf_counter() - self.begin, "rounds_s": end - start, "rounds_cpu_s": after - before,
                "accuracy": accuracy}  # fmt: skip
