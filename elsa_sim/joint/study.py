"""What ``elsa-sim optimise`` does: one decision with its breakdown, the baselines beside it, and delays over resources.

Tested in tests/cli/test_optimise.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..base.errors import InputError
from ..base.writing import PARTIAL
from ..run import checks
from ..run.checks import Plan
from . import Problem, Result, optimise
from .comparison import compare
from .from_scenario import problem, stated, systems
from .rounds import Fit, fit, load, measured
from .rounds import save as keep

if TYPE_CHECKING:
    from ..scenario.model import Loaded, Scenario


@dataclass(frozen=True)
class Choice:
    """What there is to choose from: cuts, ranks (``None``: all cuts, the scenario's rank), and E(r)."""

    cuts: tuple[int, ...] | None = None
    ranks: tuple[int, ...] | None = None
    rounds: Fit | None = None

    @classmethod
    def read(cls, cuts: str, ranks: str, runs: Sequence[Path], target: str, cache: Path | None) -> Choice:
        """From the command line; see :func:`rounds_of`.

        Raises:
            InputError: no whole numbers, or no rounds in these runs.
        """
        fit = rounds_of(runs, target, cache) if runs or target else None
        chosen = _numbers("--ranks", ranks)
        return cls(_numbers("--cuts", cuts), chosen if chosen or fit is None else tuple(fit.means), fit)

    def of(self, plan: Plan) -> Problem:
        """The joint problem of a plan, with what there is to choose from."""
        ranks = self.ranks or (plan.scenario.backbone.lora.rank,)
        rounds = None if self.rounds is None else self.rounds.table(ranks)
        return problem(plan, cuts=self.cuts, ranks=ranks, rounds=rounds)


def rounds_of(runs: Sequence[Path], target: str, cache: Path | None) -> Fit:
    """E(r) from run directories, or from all runs with a joint batch in folders of studies.

    ``target`` is ``MEASURE=VALUE``. With a ``cache`` (JSON), runs that were read before are not read again: its key is a hash
    of the target, and of the runs' scenarios and rounds.

    Raises:
        InputError: no target, no runs, or one that did not reach the target.
    """
    measure, equals, mark = target.partition("=")
    try:
        value = float(mark)
    except ValueError:
        equals = ""
    if not equals or not runs:
        raise InputError("rounds to a target need both --runs DIR and --target MEASURE=VALUE, such as loss=3.5")
    folders = [folder for run in runs for folder in _played(run)]
    if not folders:
        raise InputError(f"--runs {runs[0]}: there are no finished runs of {' or '.join(systems())} in it")
    contents = [folder / name for folder in folders for name in ("scenario.yaml", "rounds.csv")]
    parts = [target, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in contents if path.exists())]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    found = load(cache, key) if cache is not None else None
    if found is None:
        found = fit(measured(folders, value, measure))
        if cache is not None:
            keep(cache, key, found)
    return found


def _played(folder: Path) -> list[Path]:
    """A run directory itself, or the finished runs of such protocols of a study, by name."""
    if (folder / "summary.json").exists():
        return [folder]
    found = []
    for path in sorted(folder.glob("cells/*/summary.json")):
        if PARTIAL in path.parent.name:  # it has not got its name yet
            continue
        try:
            summary = json.loads(path.read_text("utf-8"))
            counts = summary["protocol"] in systems() and summary["complete"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no summary of a run: {error}") from error
        if counts:
            found.append(path.parent)
    return found


@dataclass(frozen=True)
class Sweep:
    """Delays over values of one resource."""

    key: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Found:
    """What was found for a scenario."""

    plan: Plan
    loaded: Loaded
    choice: Choice
    problem: Problem
    result: Result
    played: Loaded
    """The scenario with the decision in it."""
    table: pd.DataFrame
    """The optimiser and its baselines at the scenario itself; see :func:`.comparison.compare`."""
    sweeps: Sequence[Sweep] = field(default=())


def compared(
    scenario: Callable[[list[str]], Loaded],
    choice: Choice,
    over: Sequence[str],
    draws: int,
    watch: Callable[[str], None],
) -> Found:
    """Optimise the scenario that ``scenario([])`` gives, and compare; then over each ``KEY.PATH=V,...`` of ``over``.

    Raises:
        InputError: see :func:`.problem.problem`; also what cannot be read.
    """
    resources = [_resource(each) for each in over]
    loaded = scenario([])
    plan = checks.check(loaded)
    made = choice.of(plan)
    found = optimise(made)
    played = scenario(stated(found.decision, made, plan))
    table = compare({loaded.scenario.name: made}, plan.context.streams, draws=draws)
    sweeps = []
    for key, values in resources:
        problems = {}
        for value in values:
            changed = scenario([f"{key}={value}"])
            problems[_value(changed.scenario, key, value)] = choice.of(checks.check(changed))
        told = partial(_told, watch, key)
        sweeps.append(Sweep(key, compare(problems, plan.context.streams, draws=draws, watch=told)))
    return Found(plan, loaded, choice, made, found, played, table, sweeps)


def _told(watch: Callable[[str], None], key: str, value: str) -> None:
    watch(f"{key} = {value}: done")


def _numbers(option: str, text: str) -> tuple[int, ...] | None:
    try:
        found = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"{option} {text}: expected whole numbers with commas, such as 1,2,4") from None
    if any(number < 1 for number in found):
        raise InputError(f"{option} {text}: numbers are at least 1")
    return found or None


def _resource(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",") if value.strip()]
    if not equals or not key or not found:
        raise InputError(f"--over {text}: expected KEY.PATH=V,..., such as wireless.bandwidth=250 kHz,500 kHz")
    return key.strip(), found


def _value(scenario: Scenario, key: str, text: str) -> float | str:
    """The value in SI, where it is a number."""
    place: object = scenario
    for name in key.split("."):
        place = place.get(name) if isinstance(place, dict) else getattr(place, name, None)
    return float(place) if isinstance(place, int | float) else text
