"""Cells: one run of a study each, in a run directory named after what it plays.

The key of a cell is a hash of its resolved scenario (everything written out, files by their absolute paths), of the
contents of the files that it names and of the plugins that it uses (`elsa_sim.run.inputs`), and of the program's version.
So a cell that was played is found again, whatever study file asks for it, and a changed scenario, data set, trace,
checkpoint or plugin makes another cell. Where a file changes while a cell is played, the cell has failed. A cell's folder
appears when its run has ended; until then it is ``KEY.partial``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..base.errors import ElsaError, Fault, InputError, ScenarioError
from ..run import checks, inputs
from ..scenario import dump, model
from ..version import __version__
from .options import Configuration, Study

State = Literal["done", "failed", "open"]
#: Why a run failed, in its folder.
REASON = "failed.txt"


@dataclass(frozen=True)
class Cell:
    """A configuration with a seed: the resolved scenario, and where it is played."""

    labels: Mapping[str, str]
    seed: int
    text: str
    folder: Path

    @property
    def key(self) -> str:
        """The name of its run directory."""
        return self.folder.name

    @property
    def state(self) -> State:
        """Whether it was played, and how that ended."""
        if (self.folder / REASON).exists():
            return "failed"
        return "done" if (self.folder / "summary.json").exists() else "open"

    @property
    def reason(self) -> str:
        """Why it failed."""
        return (self.folder / REASON).read_text(encoding="utf-8") if self.state == "failed" else ""

    def forget(self) -> None:
        """Remove its folder, so that it is played again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __str__(self) -> str:
        return "  ".join([*(f"{axis}={label}" for axis, label in self.labels.items()), f"seed={self.seed}"])


def cells(study: Study, folder: Path, only: Mapping[str, frozenset[str]] | None = None) -> list[Cell]:
    """The cells of a study, seed by seed; ``only`` some labels of some axes. Every configuration is checked.

    Raises:
        ScenarioError: a configuration has faults; all of them, each with the configurations that have it.
    """
    faults: dict[Fault, list[str]] = {}
    made: dict[int, list[Cell]] = {seed: [] for seed in study.options.seeds}
    for configuration in study.configurations(only):
        try:
            for cell in _cells(study, configuration, folder):
                made[cell.seed].append(cell)
        except ScenarioError as error:
            for fault in error.faults:
                faults.setdefault(fault, []).append(str(configuration))
    if faults:
        raise ScenarioError(str(study.file), [_told(study, fault, where) for fault, where in faults.items()])
    return [cell for seed in study.options.seeds for cell in made[seed]]


def _cells(study: Study, configuration: Configuration, folder: Path) -> Iterator[Cell]:
    for seed in study.options.seeds:
        loaded = model.validated(configuration.document, seed=seed)
        text = dump.dump(loaded)
        cell = Cell(configuration.labels, seed, text, folder / _key(text, inputs.named(loaded)))
        if seed == study.options.seeds[0] and cell.state == "open":
            checks.check(loaded)
        yield cell


def _key(text: str, contents: Mapping[str, str]) -> str:
    """The name of the cell that plays a resolved scenario with files of these digests."""
    lines = [__version__, text, *(f"{digest} {name}" for name, digest in contents.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _told(study: Study, fault: Fault, where: Sequence[str]) -> Fault:
    """A fault of the scenario as one of the study file."""
    more = f" (and {len(where) - 1} more)" if len(where) > 1 else ""
    line = f" (line {fault.line} of {study.options.scenario})" if fault.line is not None else ""
    return Fault(f"{where[0]}{more}: {fault.path}" if fault.path else f"{where[0]}{more}", fault.message + line)


def play(text: str, folder: Path) -> None:
    """Play a resolved scenario into ``folder``; what goes wrong is written there. Runs in any process.

    The folder appears at once, with everything in it, when the run has ended.
    """
    from ..run import simulation
    from ..scenario.document import parse

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        loaded = model.validated(parse(text, "scenario.yaml", partial))
        played = simulation.run(loaded, partial).summary["inputs"]
        contents = inputs.named(loaded)
        other = [name for name, digest in played.items() if contents.get(name, digest) != digest]
        if other or _key(text, contents) != folder.name:
            changed = f": {', '.join(other)}" if other else ""
            raise InputError(f"files of the scenario changed since the study was begun{changed}; begin it again")
    except ElsaError as error:
        (partial / REASON).write_text(f"{error}", encoding="utf-8")
    except Exception as error:  # whatever it is, the other cells go on
        (partial / REASON).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
    settle(partial, folder)


def settle(partial: Path, folder: Path) -> None:
    """Give a run that has ended its name, unless another process was there first."""
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(partial, ignore_errors=True)


def summary(cell: Cell) -> dict[str, object]:
    """The summary of a cell's run."""
    found: dict[str, object] = json.loads((cell.folder / "summary.json").read_text(encoding="utf-8"))
    return found
