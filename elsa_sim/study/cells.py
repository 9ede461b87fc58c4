"""Cells: one run of a study each, in a run directory named after what it plays.

The key of a cell is a hash of its resolved scenario (everything written out, files by their absolute paths), of the
contents of the files that it names and of the plugins that it uses (`elsa_sim.run.inputs`), and of the program's version.
So a cell that was played is found again, whatever study file asks for it, and a changed scenario, data set, trace,
checkpoint or plugin makes another cell. Where a file changes while a cell is played, the cell has failed. A cell's folder
appears when its run has ended; until then it is ``KEY.partial`` (see :mod:`..run.folder`). A folder that does not hold
what a study reads of a run that ended counts for nothing: its cell is played again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..base.errors import DiskFull, ElsaError, Fault, InputError, ScenarioError
from ..base.interrupts import Shield
from ..base.writing import refused, write_text
from ..learning.execution.journal import OtherRun
from ..results.manifest import REASON, finished
from ..results.metrics import Results
from ..run import checks, inputs
from ..run.folder import Busy, Draft, opened
from ..scenario import dump, model
from ..version import __version__
from . import metrics
from .options import Configuration, Study

State = Literal["done", "failed", "open"]
#: How often a cell that another process is playing is looked at (s).
EVERY = 0.2


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
        return state(self.folder)

    @property
    def reason(self) -> str:
        """Why it failed."""
        if self.state != "failed":
            return ""
        return (self.folder / REASON).read_text(encoding="utf-8", errors="replace").strip() or "for a reason unknown"

    def forget(self) -> None:
        """Take its failure back, so that it is played again."""
        (self.folder / REASON).unlink(missing_ok=True)

    def __str__(self) -> str:
        return "  ".join([*(f"{axis}={label}" for axis, label in self.labels.items()), f"seed={self.seed}"])


def state(folder: Path) -> State:
    """Whether a cell was played into ``folder``, and how that ended."""
    if (folder / REASON).is_file():
        return "failed"
    return "done" if finished(folder) and metrics.readable(folder) else "open"


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


def play(text: str, folder: Path, notes: Sequence[str] = ()) -> None:
    """Play a resolved scenario into ``folder``; what goes wrong is written there. Runs in any process.

    The summary tells ``notes``.

    The folder appears at once, with everything in it, when the run has ended. What a killed study left of the cell is
    gone on with, or taken as it is if only the folder's name was missing; what another process is playing is waited for.

    Raises:
        InputError: the folder cannot be written to.
        DiskFull: it is no fault of the cell, which stays open.
    """
    from ..scenario.document import parse

    with Shield() as shield, _own(folder, shield) as draft:
        if state(folder) == "done" or state(draft.path) == "done":
            return
        try:
            loaded = model.validated(parse(text, "scenario.yaml", draft.path))
            played = _played(loaded, draft, folder, shield, notes).summary["inputs"]
            _unchanged(text, loaded, played, folder)
        except DiskFull:
            raise
        except InputError as error:  # perhaps it was played, but not what was asked for
            draft.clear()
            told = f"{error}"
        except Exception as error:  # whatever it is, the other cells go on
            told = f"{error}" if isinstance(error, ElsaError) else f"{type(error).__name__}: {error}"
        else:
            return
        _give_reason(draft, told)


def _played(loaded: model.Loaded, draft: Draft, folder: Path, shield: Shield, notes: Sequence[str]) -> Results:
    """Play a cell, from the latest checkpoint of its own or of a shorter cell beside it, if there is one."""
    from ..run import resuming, simulation

    plan = checks.check(loaded)
    plan = replace(plan, notes=(*plan.notes, *notes))
    shorter = [each for each in sorted(folder.parent.iterdir()) if finished(each)]
    try:
        checkpoint = resuming.prepared(draft, resuming.usable([draft.path, *shorter], loaded, plan))
    except OSError:  # another process has removed it meanwhile
        checkpoint = resuming.prepared(draft, None)
    try:
        return simulation.play(loaded, plan, draft.path, shield, after=checkpoint)
    except OtherRun:  # of another state of this program, say
        draft.clear()
        return simulation.play(loaded, plan, draft.path, shield)


def _unchanged(text: str, loaded: model.Loaded, played: Mapping[str, str], folder: Path) -> None:
    """Refuse a run of other contents of files than its key says.

    Raises:
        InputError: files changed since the study was begun.
    """
    contents = inputs.named(loaded)
    other = [name for name, digest in played.items() if contents.get(name, digest) != digest]
    if other or _key(text, contents) != folder.name:
        changed = f": {', '.join(other)}" if other else ""
        raise InputError(f"files of the scenario changed since the study was begun{changed}; begin it again")


def give_up(folder: Path, reason: str) -> None:
    """Say that a cell failed whose process is no more."""
    with Shield() as shield, _own(folder, shield) as draft:
        if state(folder) != "done":
            _give_reason(draft, reason)


def _give_reason(draft: Draft, reason: str) -> None:
    try:
        write_text(draft.path / REASON, reason)
    except OSError as error:
        raise refused(error) from None


@contextmanager
def _own(folder: Path, shield: Shield) -> Iterator[Draft]:
    """The folder of a cell to write, as soon as nobody else writes it."""
    with ExitStack() as stack:
        while True:
            try:
                draft = stack.enter_context(opened(folder, "continue", settle_failed=False))
                break
            except Busy:
                with shield.lowered():
                    time.sleep(EVERY)
        yield draft


def summary(cell: Cell) -> dict[str, object]:
    """The summary of a cell's run."""
    found: dict[str, object] = json.loads((cell.folder / "summary.json").read_text(encoding="utf-8"))
    return found
