"""Go on with a run from its latest checkpoint, or beyond its end.

What came before the checkpoint is played again without arithmetic (:mod:`..learning.execution.journal`), so the event table, the
rounds and the adapters are those of a run that was not interrupted, bit for bit; without a checkpoint the run is played anew.
Only what says when a run ends may be changed. A run that was killed is gone on with where it lies (``NAME.partial``); one that
ended in any way is replaced when the longer one has ended.
Tested in tests/run/test_resuming.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.errors import InputError
from ..base.interrupts import Shield
from ..base.writing import PARTIAL, shown
from ..results import manifest
from ..results.differences import flat
from ..results.manifest import ADAPTERS, CHECKPOINT, partial_of
from ..results.metrics import Results, load
from ..scenario import document, dump, model
from ..scenario.model import Loaded
from ..scenario.yaml_reader import brief
from ..world.progress import Observer
from . import checkpoint_files, checks, closing
from .checkpoint_files import Checkpoint
from .folder import Draft, Earlier, opened
from .simulation import play

#: Keys, and sections, that say when a run ends or what is kept of it, and nothing of what happens until then.
FREE = ("protocol.rounds", "stop", "checkpoint")


def resume(
    folder: str | Path,
    changes: Sequence[str] = (),
    observer: Observer | None = None,
    *,
    then: Callable[[Results, Path], object] | None = None,
) -> Results:
    """Go on with the run in ``folder``; ``changes`` are ``--set`` texts, such as ``protocol.rounds=20`` to go beyond its end.

    ``observer`` and ``then`` as in :func:`.simulation.run`.

    Raises:
        ScenarioError: the changed scenario has faults.
        InputError: there is no run that can be gone on with; it has ended and nothing is changed; something is changed that
            would have changed what was played already; the checkpoint is of other inputs or versions.
        RunFailed, KeyboardInterrupt: as in :func:`.simulation.run`.
    """
    folder = Path(folder)
    final, source = _places(folder)
    loaded = model.load(source / "scenario.yaml", changes)
    before = document.read(source / "scenario.yaml").data
    _refuse(_changed(before, document.parse(dump.dump(loaded)).data), shown(folder))
    if not changes and manifest.finished(source) and source == final:
        raise InputError(f"{shown(folder)}: that run has ended; to go beyond its end: --set protocol.rounds=N, or stop")
    plan = checks.check(loaded)
    if not changes and manifest.finished(source):  # it was killed when all but its figures and its name was there
        with Shield() as shield, opened(final, "continue") as draft:
            results = load(draft.path)
            if then is not None:
                with shield.lowered():
                    then(results, draft.path)
        return replace(results, folder=final, scenario=dump.plain(loaded))
    checkpoint = latest(source, loaded, plan)
    earlier: Earlier = "replace" if source == final else "continue"
    with Shield() as shield, opened(final, earlier) as draft:
        checkpoint = prepared(draft, checkpoint)
        results = play(loaded, plan, draft.path, shield, observer, checkpoint)
        if then is not None:
            with shield.lowered():
                then(results, draft.path)
    return replace(results, folder=final, scenario=dump.plain(loaded))


def prepared(draft: Draft, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Have ``draft`` hold the checkpoint to go on from, perhaps another run's, with the adapters that were saved, and no more."""
    draft.clear((CHECKPOINT, ADAPTERS) if checkpoint is not None and checkpoint.run == draft.path else ())
    if checkpoint is None or checkpoint.run == draft.path:
        return checkpoint
    if (checkpoint.run / ADAPTERS).is_dir():
        shutil.copytree(checkpoint.run / ADAPTERS, draft.path / ADAPTERS)
    return checkpoint_files.copied(checkpoint, draft.path)


def _places(folder: Path) -> tuple[Path, Path]:
    """Where a run directory is to be at the end, and where what was recorded is now.

    Raises:
        InputError: nothing was recorded there.
    """
    real = Path(os.path.realpath(folder))
    final = real.with_name(real.name.removesuffix(PARTIAL)) if real.name.endswith(PARTIAL) else real
    there = [each for each in (partial_of(final), final) if (each / "scenario.yaml").is_file()]
    if real != final:
        there = [each for each in there if each == real]
    if not there:
        what = "is a file" if folder.is_file() else "no run was recorded there"
        hint = f"; to begin one: elsa-sim run {shown(folder)}" if folder.suffix in (".yaml", ".yml") else ""
        raise InputError(f"{shown(folder)}: {what}{hint}")
    return final, max(there, key=_progress)  # of two the one that came further, the killed one if in doubt


def _progress(run: Path) -> tuple[bool, int, bool]:
    rounds = [each.round for each in checkpoint_files.found(run)]
    return manifest.finished(run), max(rounds, default=0), run.name.endswith(PARTIAL)


def latest(source: Path, loaded: Loaded, plan: checks.Plan) -> Checkpoint | None:
    """The latest checkpoint in the run directory ``source`` that comes before the end of a run.

    Raises:
        InputError: it is of another scenario, other inputs or versions.
    """
    for checkpoint in _before_end(source, loaded):
        found = differences(checkpoint.state, dump.dump(loaded), plan.context.inputs.digests)
        _refuse(found, f"{shown(checkpoint.folder)}")
        return checkpoint
    return None


def usable(runs: Iterable[Path], loaded: Loaded, plan: checks.Plan) -> list[Checkpoint]:
    """The checkpoints in any of these run directories from which a run can go on, whatever was asked for there."""
    scenario, inputs = dump.dump(loaded), plan.context.inputs.digests
    return [each for run in runs for each in _before_end(run, loaded) if not differences(each.state, scenario, inputs)]


def _before_end(source: Path, loaded: Loaded) -> Iterator[Checkpoint]:
    """The checkpoints in ``source`` that come before the end of the run, the latest first."""
    stop = loaded.scenario.stop
    most = min(loaded.scenario.protocol.rounds, stop.rounds or loaded.scenario.protocol.rounds)
    for each in checkpoint_files.found(source):
        if each.round <= most and (stop.sim_time is None or float(each.state["now_s"]) <= stop.sim_time):
            yield each


def differences(state: Mapping[str, Any], scenario: str, inputs: Mapping[str, str]) -> list[str]:
    """What of a checkpoint's run is not as it is now, and matters."""
    if state.get("format") != checkpoint_files.FORMAT:
        return [f"its format is {state.get('format')!r}, not {checkpoint_files.FORMAT}"]
    found = _changed(document.parse(state["scenario"]).data, document.parse(scenario).data)
    found += [
        f"{name} was {old}, is {inputs[name]}" for name, old in state["inputs"].items() if inputs.get(name, old) != old
    ]
    versions = closing.versions()
    found += [
        f"{name} was {old}, is {versions.get(name)}"
        for name, old in state["versions"].items()
        if versions.get(name) != old
    ]
    return found


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What was changed that may not be."""
    old, new = dict(flat(before)), dict(flat(after))
    keys = [key for key in {**old, **new} if not any(key == free or key.startswith(f"{free}.") for free in FREE)]
    return [
        f"{key} was {brief(old.get(key))}, is {brief(new.get(key))}" for key in keys if old.get(key) != new.get(key)
    ]


def _refuse(differing: Sequence[str], told: str) -> None:
    if differing:
        may = "only protocol.rounds, stop and checkpoint may change; begin it anew with elsa-sim run"
        raise InputError(f"{told} cannot be gone on with: {'; '.join(differing)} ({may})")
