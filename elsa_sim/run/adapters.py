"""The trained adapters of a run, written as it goes: of the last evaluation, the best, every k-th, and of each client.

Files are those of peft (:mod:`..learning.backbone.peft_folder`); each is replaced as a whole, so what a kill leaves loads. Model
cards and what clients trained come when training has ended. Nothing here takes simulated time or is seen by the run.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..base.writing import write_text
from ..results.manifest import ADAPTERS
from ..world.round_end import RoundEnd, RoundObserver
from .model_card import card

if TYPE_CHECKING:
    from ..learning.backbone.peft_folder import PeftFolder
    from ..learning.execution.work import Ref
    from ..results.metrics import Results
    from ..world.world import World
    from .checks import Plan

#: Characters of a folder's name that a client gives it, at most.
_LONGEST = 120


class AdapterKeeper(RoundObserver):
    """Writes the adapters that a scenario asks for below the run directory ``folder``; see the module."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder / ADAPTERS
        self._options = plan.scenario.adapters
        self._best = -math.inf
        self._clients: dict[str, Sequence[Ref]] = {}
        self._world: World | None = None
        self._writer: PeftFolder | None = None
        #: Those that later ones replace; a checkpoint has their values. And whether some were saved by an earlier process.
        self._held: dict[str, RoundEnd] = {}
        self._behind = False
        #: Folder below ``adapters/`` -> the round whose adapters it has, and a client if they are one's own.
        self.kept: dict[str, tuple[int, str]] = {}

    def begin(self, world: World) -> None:
        """The world was built; its rounds are to come."""
        self._world = world

    def trained(self, client: str, adapters: Sequence[Ref]) -> None:
        if self._options.clients:
            self._clients[client] = adapters

    def ended(self, end: RoundEnd) -> None:
        """Write what is to be kept of this evaluation.

        Raises:
            OSError: it cannot be written.
        """
        every = self._options.every
        if self._options.final:
            self._save("", end)
        if every is not None and end.round and end.round % every == 0:
            self._save(f"round-{end.round}", end)
        score = end.metrics.get("accuracy", -end.metrics.get("loss", math.inf))
        if self._options.best and (score > self._best or "best" not in self.kept):
            self._best = score
            self._save("best", end)

    def _save(self, name: str, end: RoundEnd) -> None:
        if end.live:
            self._open().save(end.adapters.value, self.folder / name)
        if name in ("", "best"):
            self._held[name] = end
        self._behind |= not end.live
        self.kept[name] = (end.round, "")

    def _open(self) -> PeftFolder:
        """The writer; with the first adapters come the frozen weights that exist nowhere else."""
        if self._writer is None:
            from ..learning.backbone.peft_folder import PeftFolder

            assert self._world is not None
            backbone, source = self._world.model.backbone, self.plan.source
            self._writer = PeftFolder(backbone, self.plan.scenario.backbone.lora, source.location)
            if backbone.random:
                self._writer.save_backbone(self.folder / "backbone", self._world.tokenizer, self.plan.texts.labels)
        return self._writer

    def finish(self) -> None:
        """Training has ended: write what each client trained last; what it did not train is as in the last evaluation.

        Raises:
            OSError: it cannot be written.
        """
        last = None if self._world is None else self._world.latest.end
        if self._world is None or last is None:
            return
        if self._behind:  # an earlier process may have come further than where this one went on
            for name, end in self._held.items():
                self._open().save(end.adapters.value, self.folder / name)
            for folder in self.folder.glob("round-*"):
                if folder.name not in self.kept and folder.name.removeprefix("round-").isdigit():
                    shutil.rmtree(folder)
        known = self._world.model.specs
        for client, adapters in self._clients.items():
            own = {name: tensor for ref in adapters for name, tensor in ref.value.items() if name in known}
            name = f"clients/{folder_of(client)}"
            self._open().save({**last.adapters.value, **own}, self.folder / name)
            self.kept[name] = (last.round, client)

    def describe(self, results: Results, scenario: str) -> None:
        """Write the model cards of what was kept, and note what could not be.

        Raises:
            OSError: they cannot be written.
        """
        for name, (round, client) in self.kept.items():
            if not (self.folder / name).is_dir():
                results.summary["notes"].append(f"adapters/{name} was removed while the run was interrupted")
                continue
            text = card(self.plan, results, scenario, round=round, name=name, client=client)
            write_text(self.folder / name / "README.md", text)
        if self._options.clients and not any(client for _, client in self.kept.values()):
            results.summary["notes"].append("adapters.clients: nothing was told of what clients train (World.trained)")


def keeper(plan: Plan, folder: Path | None) -> AdapterKeeper | None:
    """Who keeps the adapters of a run; ``None`` where there are none, no place for them, or nobody asks."""
    scenario = plan.scenario
    if folder is None or scenario.execution.mode == "timing" or not scenario.adapters.kept:
        return None
    return AdapterKeeper(plan, folder)


def folder_of(client: str) -> str:
    """The name of a client's folder: its own, with what no file system takes written as in addresses (%2F)."""
    name = quote(client, safe=" ")
    return (f"%2E{name[1:]}" if name.startswith(".") else name)[:_LONGEST]
