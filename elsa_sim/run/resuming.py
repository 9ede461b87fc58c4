"""Go on with a run from its latest checkpoint, or beyond its end.

What came before the checkpoint is played again without arithmetic (:mod:`..learning.execution.journal`), so the event table, the
rounds and the adapters are those of a run that was not interrupted, bit for bit; without a checkpoint the run is played anew.
Only what says when a run ends may be changed. A run that was killed is gone on with where it lies (``NAME.partial``); one that
ended in any way is replaced when the longer one has ended.
Tested in tests/run/test_resuming.py.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.errors import InputError, ScenarioError
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
from ..world.world import EVALUATION
from . import checkpoint_files, checks, closing, inputs
from .checkpoint_files import Checkpoint
from .checkpoint_state import State
from .folder import Draft, Earlier, opened
from .simulation import play

#: Keys, and sections, that say when a run ends or what is kept of it, and nothing of what happens until then.
FREE = ("protocol.rounds", "stop", "checkpoint")
_READ = "stop.adapter_change"


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    observer: Observer | None = None,
    *,
    then: Callable[[Results, Path], object] | None = None,
) -> Results:
    """Go on with the run in ``folder``; ``overrides`` are ``--set`` texts, such as ``protocol.rounds=20`` to go beyond its end.

    ``observer`` and ``then`` as in :func:`.simulation.run`.

    Raises:
        ScenarioError: the changed scenario has faults.
        InputError: there is no run that can be gone on with; it has ended and nothing is changed; something is changed that
            would have changed what was played already; the checkpoint is of other inputs or versions.
        RunFailed, KeyboardInterrupt: as in :func:`.simulation.run`.
    """
    folder, changes = Path(folder), [overrides] if isinstance(overrides, str) else overrides
    final, source = _places(folder)
    loaded = model.load(source / "scenario.yaml", changes)
    before = document.read(source / "scenario.yaml").data
    _refuse(_changed(before, document.parse(dump.dump(loaded)).data), shown(folder))
    if not changes and manifest.finished(source) and source == final:
        raise InputError(f"{shown(folder)}: that run has ended; to go beyond its end: --set protocol.rounds=N, or stop")
    if manifest.finished(source):
        _longer(load(source), loaded, shown(folder))
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


def _longer(ended: Results, loaded: Loaded, told: str) -> None:
    """Refuse to have a run that finished make way for one that ends before it.

    Raises:
        InputError: the changed run would end earlier.
    """
    stop, before = loaded.scenario.stop, (ended.scenario or {}).get("stop") or {}
    rounds, now = ended.rounds, float(ended.summary["sim_time_s"])
    last = int(rounds["round"].max()) if len(rounds) else 0
    least = min(loaded.scenario.protocol.rounds, stop.rounds or last)
    earlier = [f"after round {least}"] if least < last else []
    if stop.target_accuracy is not None and "accuracy" in rounds:
        reached = rounds.loc[rounds["accuracy"] >= stop.target_accuracy, "round"]
        earlier += (
            [f"after round {int(reached.iloc[0])}, at its accuracy"] if len(reached) and reached.iloc[0] < last else []
        )
    if stop.sim_time is not None and stop.sim_time < now:
        earlier.append(f"after {stop.sim_time:g} s")
    if stop.host_time is not None and stop.host_time < float(before.get("host_time") or math.inf):
        earlier.append(f"after {stop.host_time:g} s of this machine's time")
    if stop.adapter_change is not None and stop.adapter_change > float(before.get("adapter_change") or math.inf):
        earlier.append("when adapters move less")
    if earlier:
        raise InputError(
            f"{told}: that run has ended after round {last} at {now:g} s, and would end {earlier[0]}; a shorter one is another "
            f"run: elsa-sim run {told}/scenario.yaml with the same --set, and --out another folder"
        )


def prepared(draft: Draft, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Have ``draft`` hold the checkpoint to go on from, perhaps another run's, with the adapters that were saved, and no more.

    Raises:
        OSError: another run's cannot be copied.
    """
    if checkpoint is not None and checkpoint.run == draft.path:
        draft.clear((CHECKPOINT, ADAPTERS, "scenario.yaml"))  # without a scenario nobody could go on with it
        return checkpoint
    draft.clear(("scenario.yaml",))
    if checkpoint is None:
        return None
    if (checkpoint.run / ADAPTERS).is_dir():
        shutil.copytree(checkpoint.run / ADAPTERS, draft.path / ADAPTERS)
    return checkpoint_files.copied(checkpoint, draft.path)


def _places(folder: Path) -> tuple[Path, Path]:
    """Where a run directory is to be at the end, and where what was recorded is now: that of a run that was killed, if any.

    Raises:
        InputError: nothing was recorded there.
    """
    real = Path(os.path.realpath(folder))
    final = real.with_name(real.name.removesuffix(PARTIAL)) if real.name.endswith(PARTIAL) else real
    for source in dict.fromkeys((partial_of(final), real)):
        if (source / "scenario.yaml").is_file():
            return final, source
    what = "is a file" if folder.is_file() else "no run was recorded there"
    hint = f"; to begin one: elsa-sim run {shown(folder)}" if folder.suffix in (".yaml", ".yml") else ""
    raise InputError(f"{shown(folder)}: {what}{hint}")


def latest(source: Path, loaded: Loaded, plan: checks.Plan) -> Checkpoint | None:
    """The latest checkpoint in the run directory ``source`` that comes before the end of a run, and is whole.

    Raises:
        InputError: it is of another scenario, other inputs or versions.
    """
    for checkpoint in _before_end(source, loaded):
        if checkpoint.whole:
            _refuse(differences(checkpoint.state, loaded, plan), f"{shown(checkpoint.folder)}")
            return checkpoint
    return None


def usable(runs: Iterable[Path], loaded: Loaded, plan: checks.Plan) -> Checkpoint | None:
    """The latest checkpoint in any of these run directories from which a run can go on, whatever was asked for there."""
    every = [each for run in runs for each in _before_end(run, loaded)]
    for checkpoint in sorted(every, key=lambda each: each.round, reverse=True):
        if not differences(checkpoint.state, loaded, plan) and checkpoint.whole:
            return checkpoint
    return None


def _before_end(source: Path, loaded: Loaded) -> Iterator[Checkpoint]:
    """The checkpoints in ``source`` that come before the end of the run, the latest first."""
    stop, target = loaded.scenario.stop, loaded.scenario.stop.target_accuracy
    most = min(loaded.scenario.protocol.rounds, stop.rounds or loaded.scenario.protocol.rounds)
    for each in checkpoint_files.found(source):
        ends = most if target is None else min(most, _reaches(each, target))
        if each.round <= ends and (stop.sim_time is None or each.state.now_s <= stop.sim_time):
            yield each


def _reaches(checkpoint: Checkpoint, target: float) -> float:
    """The first round until then whose accuracy reached the ``target``."""
    try:
        measured = (found for what, found in checkpoint.readings() if what == EVALUATION)
        reached = (round for round, found in enumerate(measured) if found.get("accuracy", -1.0) >= target)
        return next(reached, math.inf)
    except (OSError, ValueError, TypeError, AttributeError):  # damaged: found out when it is looked at closely
        return math.inf


def differences(state: State, loaded: Loaded, plan: checks.Plan) -> list[str]:
    """What of a checkpoint's run is not as it is now, and matters."""
    try:
        found = _changed(document.parse(state.scenario).data, document.parse(dump.dump(loaded)).data)
    except ScenarioError:
        return ["what it says of its scenario cannot be read"]
    now = {**inputs.named(loaded), **plan.context.digests}
    others = {(Path(name).name, digest) for name, digest in now.items()}  # a backbone's files have other names here
    for name, digest in state.inputs.items():
        if now[name] != digest if name in now else (Path(name).name, digest) not in others:
            found.append(f"{name} has other contents, or is not there")
    versions = closing.versions()
    for name in dict.fromkeys((*state.versions, *versions)):
        if state.versions.get(name) != versions.get(name):
            found.append(f"{name} was {state.versions.get(name)}, is {versions.get(name)}")
    return found


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What was changed that may not be."""
    old, new = dict(flat(before)), dict(flat(after))
    keys = [key for key in {**old, **new} if not any(key == free or key.startswith(f"{free}.") for free in FREE)]
    if (old.get(_READ) is None) != (new.get(_READ) is None):  # it is told by values, which are there no more
        keys.append(_READ)
    return [
        f"{key} was {brief(old.get(key))}, is {brief(new.get(key))}" for key in keys if old.get(key) != new.get(key)
    ]


def _refuse(differing: Sequence[str], told: str) -> None:
    if differing:
        may = "only protocol.rounds, stop and checkpoint may change; begin it anew with elsa-sim run"
        raise InputError(f"{told} cannot be gone on with: {'; '.join(differing)} ({may})")
