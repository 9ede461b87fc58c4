"""The bare loop: federated LoRA fine-tuning as one would write it with PyTorch and peft, clients one after another.

No network, no clock, no split, no event table: the least that gives the same adapters. Texts, tokens, the partition and
the order of batches come from this program, as do the seeds, so that losses and accuracy agree up to rounding.

``padding="fixed"`` pads every batch to the maximum length, as the simulators compared with do; ``"longest"`` to the
longest text of the batch. ``half`` trains and evaluates under PyTorch's autocast to bfloat16; adapters and optimizer are float32.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification
from workloads import LORA, MAX_LENGTH, load

from elsa_sim.learning.backbone.tokenizers import tokenizer_for
from elsa_sim.learning.tasks.base import Dataset
from elsa_sim.learning.tasks.data import Batch, Batches, in_chunks
from elsa_sim.learning.tasks.tokenising import tokenize
from elsa_sim.run import checks
from elsa_sim.world.evaluation import TOKENS

Padding = Literal["fixed", "longest"]
State = dict[str, Tensor]


class Prepared:
    """What a workload gives to any simulator: token ids, each client's batches, and a fresh model with adapters."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        loaded = load(sizes)
        plan = checks.check(loaded)
        streams, task = plan.context.streams, loaded.scenario.task
        self.sizes, self.source, self._seed = sizes, plan.source, streams.integer("backbone")
        self.data: Dataset = tokenize(plan.texts, tokenizer_for(plan.source, task, plan.texts), task)
        self.samples = list(plan.samples)
        self.batches = [
            Batches(self.data.train, samples, sizes["batch"], self.data.pad_id, streams.numpy("batches", index))
            for index, samples in enumerate(self.samples)
        ]
        self.test = list(in_chunks(self.data.test, TOKENS, self.data.pad_id))

    def model(self) -> nn.Module:
        """The transformer with its class head and LoRA adapters; dropout is off, as it is in this program."""
        config = self.source.config
        config.num_labels, config.pad_token_id = len(self.data.labels), self.data.pad_id
        torch.manual_seed(self._seed)
        if self.source.location is None:
            config.vocab_size = self.data.vocab_size
            base = AutoModelForSequenceClassification.from_config(config)
        else:
            base = AutoModelForSequenceClassification.from_pretrained(self.source.location, config=config)
        lora = LoraConfig(r=LORA["rank"], lora_alpha=LORA["alpha"], target_modules=LORA["targets"], lora_dropout=0.0,
                          modules_to_save=["classifier"], task_type="SEQ_CLS")  # fmt: skip
        return get_peft_model(base, lora).eval()


def tensors(batch: Batch, padding: Padding, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids [B, T], mask [B, T] and labels [B]."""
    tokens = batch.tokens
    if padding == "fixed":
        tokens = np.pad(tokens, ((0, 0), (0, MAX_LENGTH - tokens.shape[1])), constant_values=pad_id)
    mask = np.arange(tokens.shape[1]) < batch.lengths[:, None]
    return torch.from_numpy(tokens), torch.from_numpy(mask.astype(np.int64)), torch.from_numpy(batch.labels)


def steps_of(model: nn.Module, batches: Iterator[Batch], count: int, padding: Padding, pad_id: int) -> State:
    """A client's visit: some AdamW steps from the model's present adapters; its adapters afterwards."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0.0)
    for _ in range(count):
        tokens, mask, labels = tensors(next(batches), padding, pad_id)
        logits = model(input_ids=tokens, attention_mask=mask).logits
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def put(model: nn.Module, state: State) -> None:
    """Give the model these adapters."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(state[name])


@torch.no_grad()
def accuracy(model: nn.Module, test: list[Batch]) -> float:
    """Accuracy on the test texts, in the batches in which this program evaluates them."""
    hits = 0
    for batch in test:
        tokens, mask, labels = tensors(batch, "longest", 0)
        hits += int((model(input_ids=tokens, attention_mask=mask).logits.argmax(-1) == labels).sum())
    return hits / sum(len(batch.lengths) for batch in test)


def run(sizes: dict[str, Any], padding: Padding, *, half: bool = False) -> dict[str, float]:
    """FedAvg over all clients; host seconds of the whole, of the rounds alone, and the final accuracy."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return _run(sizes, padding)


def _run(sizes: dict[str, Any], padding: Padding) -> dict[str, float]:
    begin = time.perf_counter()
    prepared = Prepared(sizes)
    model, weights = prepared.model(), np.array([len(samples) for samples in prepared.samples], dtype=float)
    weights /= weights.sum()
    theta: State = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    reached = accuracy(model, prepared.test)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(sizes["rounds"]):
        mean = {name: torch.zeros_like(tensor) for name, tensor in theta.items()}
        for weight, batches in zip(weights, prepared.batches, strict=True):
            put(model, theta)
            state = steps_of(model, batches, sizes["steps"], padding, prepared.data.pad_id)
            for name, tensor in state.items():
                mean[name] += weight * tensor
        theta = mean
        put(model, theta)
        reached = accuracy(model, prepared.test)
    end = time.perf_counter()
    return {
        "wall_s": end - begin,
        "rounds_s": end - start,
        "rounds_cpu_s": time.process_time() - cpu,
        "accuracy": reached,
    }
