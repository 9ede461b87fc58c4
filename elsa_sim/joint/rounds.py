"""E(r): rounds to a target at LoRA rank r, from runs that really trained, fitted by a small law.

SflLLM (arXiv:2504.14667) needs E(r) to weigh what a rank costs per round against how many rounds it takes. The law is ours:

    E(r) = a + b r^(-c),   a, b >= 0,   0 <= c <= 4

a falling power of the rank with a floor, fitted by least squares of the relative error to the mean over the runs of every
rank. With two ranks c is 1, with one b is 0. Where more rank takes more rounds the law cannot follow: it is flat then, and
``worst`` tells. A rank that was measured is answered with its mean, not with the law's value; one between is fitted; one
outside of them is refused, unless asked for.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from ..base.errors import InputError
from ..results import metrics

#: Measures of which more is better; of the others (loss, perplexity) less is.
RISING = ("accuracy", "clean_accuracy", "macro_f1")


@dataclass(frozen=True)
class Point:
    """One run: how many rounds it took to the target at this rank; none if it ended before."""

    rank: int
    rounds: float | None
    run: str = ""


@dataclass(frozen=True)
class Estimate:
    """Rounds to the target at one rank, and where the number is from."""

    rounds: float
    how: Literal["measured", "fitted", "extrapolated"]


@dataclass(frozen=True)
class Fit:
    """E(r) = a + b r^(-c), with the points that it was fitted to."""

    a: float
    b: float
    c: float
    points: tuple[Point, ...]

    @property
    def means(self) -> dict[int, float]:
        """Mean over the runs of every rank that was measured."""
        by_rank: defaultdict[int, list[float]] = defaultdict(list)
        for point in self.points:
            if point.rounds is not None:
                by_rank[point.rank].append(point.rounds)
        return {rank: float(np.mean(each)) for rank, each in sorted(by_rank.items())}

    @property
    def worst(self) -> float:
        """The largest relative distance of the law from a mean."""
        return max(abs(self.law(rank) / mean - 1.0) for rank, mean in self.means.items())

    def law(self, rank: float) -> float:
        """The fitted law at any rank, also at those that were measured: for curves."""
        return float(self.a + self.b * rank**-self.c)

    def at(self, rank: int, *, extrapolate: bool = False) -> Estimate:
        """Rounds at this rank: measured where there is a run, else fitted between the lowest and the highest.

        Raises:
            InputError: the rank is outside of the measured ones, and ``extrapolate`` is not set.
        """
        means = self.means
        if rank in means:
            return Estimate(means[rank], "measured")
        if min(means) < rank < max(means):
            return Estimate(self.law(rank), "fitted")
        if not extrapolate:
            measured = ", ".join(map(str, means))
            raise InputError(
                f"rounds at rank {rank} are outside of what was measured (ranks {measured}); measure it, too"
            )
        return Estimate(self.law(rank), "extrapolated")

    def table(self, ranks: Iterable[int], *, extrapolate: bool = False) -> dict[int, float]:
        """E(r) of each of these ranks, as :class:`.problem.Problem` takes it."""
        return {rank: self.at(rank, extrapolate=extrapolate).rounds for rank in ranks}


def fit(points: Sequence[Point]) -> Fit:
    """The law that is nearest to the means of these points.

    Raises:
        InputError: no point, or a run that did not reach its target.
    """
    if not points:
        raise InputError("there are no runs to fit rounds to the target to")
    for point in points:
        if point.rounds is None:
            raise InputError(f"the run at rank {point.rank} ({point.run or 'unnamed'}) did not reach the target; "
                             "give it more rounds, or the target a lower mark")  # fmt: skip
        if point.rank < 1 or not point.rounds > 0.0:
            raise InputError(f"ranks are at least 1 and rounds above 0; got rank {point.rank}, {point.rounds:g} rounds")
    means = Fit(0.0, 0.0, 0.0, tuple(points)).means
    ranks, rounds = np.array(list(means), float), np.array(list(means.values()))
    exponents = np.linspace(0.05, 4.0, 159) if len(means) > 2 else np.ones(1)
    from scipy.optimize import nnls  # a tenth of a second: only for who fits

    best = (np.inf, (float(rounds.mean()), 0.0, 1.0))
    for c in exponents.tolist() if len(means) > 1 else ():
        columns = np.stack([1.0 / rounds, ranks**-c / rounds], axis=1)
        (a, b), error = nnls(columns, np.ones(len(rounds)))
        best = min(best, (float(error), (float(a), float(b), c)))
    return Fit(*best[1], tuple(points))


def measured(folders: Iterable[str | Path], target: float, measure: str = "accuracy") -> list[Point]:
    """The points of these run directories: the round of the first evaluation at which ``measure`` reached ``target``.

    The rank is that of the run's own scenario. Loss and perplexity reach a target from above.

    Raises:
        InputError: no run directory, or nothing of that measure in it, or no rank.
    """
    found = []
    for folder in folders:
        run = metrics.load(folder)
        if measure not in run.rounds or not run.rounds[measure].notna().any():
            there = ", ".join(c for c in ("accuracy", "loss", "perplexity") if c in run.rounds)
            raise InputError(f"{folder}: there is no {measure}; measured were {there or 'no such thing'}")
        values = run.rounds[measure]
        reached = run.rounds.loc[values >= target if measure in RISING else values <= target, "round"]
        found.append(Point(_rank(Path(folder)), float(reached.min()) if len(reached) else None, str(folder)))
    return found


def _rank(folder: Path) -> int:
    try:
        scenario: Any = yaml.safe_load((folder / "scenario.yaml").read_text(encoding="utf-8"))
        return int(scenario["backbone"]["lora"]["rank"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: its scenario.yaml gives no backbone.lora.rank") from error


def save(path: str | Path, key: str, found: Fit) -> None:
    """Put a fit into a JSON file, under a key that stands for everything it depends on (a hash of the scenario)."""
    path = Path(path)
    known = _read(path) if path.exists() else {}
    known[key] = asdict(found)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    beside.replace(path)


def load(path: str | Path, key: str) -> Fit | None:
    """The fit that was saved under this key, if there is one.

    Raises:
        InputError: the file is something else.
    """
    path = Path(path)
    entry = _read(path).get(key) if path.exists() else None
    if entry is None:
        return None
    try:
        points = tuple(Point(int(p["rank"]), p["rounds"], str(p["run"])) for p in entry["points"])
        return Fit(float(entry["a"]), float(entry["b"]), float(entry["c"]), points)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: the entry {key!r} is no fit of rounds over ranks") from error


def _read(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(known, dict):
        raise InputError(f"{path} is no file of fits of rounds over ranks")
    return known
