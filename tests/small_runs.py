"""Small scenarios, their runs, and a look into the world of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from elsa_sim.base.errors import Fault, ScenarioError
from elsa_sim.learning.backbone import model as backbones
from elsa_sim.learning.backbone import unread
from elsa_sim.learning.backbone.model import Backbone
from elsa_sim.learning.tasks.data import Batch, Batches
from elsa_sim.results.metrics import Results
from elsa_sim.run import builder, checks, simulation
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.model import Loaded, validated
from elsa_sim.world.progress import Observer
from elsa_sim.world.world import World

#: D of the small backbone.
HIDDEN = 32
TEXT = """\
name: small
protocol: {kind: elsa, rounds: 2, local_steps: 2, lr: 5.0e-3}
backbone:
  name: tiny-bert
  config: {num_hidden_layers: 3, hidden_size: 32, intermediate_size: 48, num_attention_heads: 2}
  lora: {rank: 2, alpha: 4, targets: [query, value]}
task: {kind: synthetic, topics: 3, train_size: 98, test_size: 30, batch_size: 4, public: 8}
topology:
  kind: tree
  clients: 3
  edges: 2
  access: {up: 10 Mbit/s, down: 40 Mbit/s, latency: 10 ms}
  backhaul: {up: 200 Mbit/s, down: 100 Mbit/s, latency: 5 ms}
devices: {client: {speed: 2 GFLOP/s}, edge: {speed: 20 GFLOP/s}}
"""


def loaded(*changes: str, seed: int | None = None, folder: Path = Path()) -> Loaded:
    """The small scenario, changed as by ``--set`` and ``--seed``."""
    return validated(parse(TEXT, "small.yaml", folder), changes, seed)


def faults(*changes: str) -> list[Fault]:
    """What is wrong with the small scenario, changed."""
    try:
        checks.check(loaded(*changes))
    except ScenarioError as error:
        return list(error.faults)
    return []


def played(*changes: str, seed: int | None = None, folder: Path | None = None) -> Results:
    """A run of the small scenario."""
    with quick():
        return simulation.run(loaded(*changes, seed=seed), folder)


@contextmanager
def quick() -> Iterator[None]:
    """Runs in which what others have built is taken from them."""
    with (
        patch.object(backbones, "build", _built_once),
        patch.object(unread, "leave_unread", _of_all),
    ):
        yield


def _of_all(*_: Any) -> None:
    raise AssertionError("what is left unread here would be left unread in all runs that share the backbone")


_build, _built = backbones.build, dict[str, Backbone]()


def _built_once(*what: Any, **how: Any) -> Backbone:
    """Building is a quarter of a small run; a backbone is frozen, so that runs may share one as their clients do."""
    key = repr((what, how))
    if key not in _built:
        _built[key] = _build(*what, **how)
    return _built[key]


@cache
def known(*changes: str, seed: int | None = None) -> Results:
    """The same, played once for all that only look at it."""
    return played(*changes, seed=seed)


@contextmanager
def worlds() -> Iterator[list[World]]:
    """The worlds that are built meanwhile."""
    made: list[World] = []
    build = builder.build

    def kept(*args: Any, **options: Any) -> World:
        made.append(build(*args, **options))
        return made[-1]

    with patch.object(builder, "build", kept):
        yield made


def world_of(*changes: str, seed: int | None = None) -> tuple[Results, World]:
    """A run of the small scenario, and its world after the end."""
    with worlds() as made:
        results = played(*changes, seed=seed)
    return results, made[0]


def framed(payload: int) -> int:
    """Bytes on the wire of a message: 66 for each 1,448 of its payload begun, by the default transport."""
    return payload + 66 * max(1, -(-payload // 1448))


@contextmanager
def drawn_batches() -> Iterator[dict[bytes, list[Batch]]]:
    """The batches that are drawn meanwhile, by the indices of those who draw them."""
    drawn: dict[bytes, list[Batch]] = {}
    draw = Batches.__next__

    def kept(self: Batches) -> Batch:
        batch = draw(self)
        drawn.setdefault(self.indices.tobytes(), []).append(batch)
        return batch

    with patch.object(Batches, "__next__", kept):
        yield drawn


def work(events: pd.DataFrame) -> pd.DataFrame:
    """The rows of what takes time: transfers and pieces of work."""
    return events[events["kind"].isin(["compute", "aggregation", "transfer"])].reset_index(drop=True)


def transfers(events: pd.DataFrame, detail: str | None = None) -> pd.DataFrame:
    """The rows of transfers, those of one kind of message if named."""
    rows = events[events["kind"] == "transfer"]
    return (rows if detail is None else rows[rows["detail"] == detail]).reset_index(drop=True)


def same_rows(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two event tables hold the same facts, whatever the categories of their texts are."""
    return len(a) == len(b) and all(
        np.array_equal(a[c].astype(str), b[c].astype(str)) if a[c].dtype == "category" else a[c].equals(b[c]) for c in a
    )


class Interrupting(Observer):
    """Interrupts a run, as Ctrl-C does, after some local steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def progressed(self, now: float, done: int, total: int) -> None:
        if done == self.steps:
            raise KeyboardInterrupt
