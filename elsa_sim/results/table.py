"""One table of several runs: what they learned, and the time, bytes and energy that it took; and what differs between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import pandas as pd

from ..base.errors import InputError
from . import markup, measures
from .columns import Column, numbers, texts
from .differences import differences, other_task, text
from .labels import run_names
from .run_directory import Results
from .sources import Source, read

#: Runs that a notebook shows side by side; more are shown below each other.
SIDE_BY_SIDE = 6


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs in one table."""

    table: pd.DataFrame
    """A row per run in SI units and full precision, by label; the cells of a study that differ in the seed only are one row:
    means, with the standard deviation over seeds (of the sample) in ``..._std``. See :func:`compare`."""
    differences: pd.DataFrame
    """A row per key path whose values differ between the scenarios, a column per row of ``table``; ``None``: no such key."""
    notes: tuple[str, ...] = ()
    """What was left out, and how runs ended that did not finish."""
    axes: tuple[str, ...] = ()
    """Columns of ``table`` that are axes of a study."""

    def columns(self) -> list[Column]:
        """The table as people read it: units in the heads, the label first; what no run has is left out."""
        return [*self._texts(), texts("ended", self.table["ended"]), *self._numbers()]

    def differing(self) -> list[Column]:
        """The differences as people read them: the key, then a column per run."""
        found = self.differences
        return [texts("what differs", found.index), *(texts(str(run), map(text, found[run])) for run in found.columns)]

    def to_markdown(self) -> str:
        """Both tables, and the notes."""
        parts = [markup.markdown(self.columns())]
        if len(self.differences):
            parts.append(markup.markdown(self.differing()))
        return "\n".join([*parts, *(f"{note}\n" for note in self.notes)])

    def to_csv(self) -> str:
        """The table in SI units and full precision."""
        return self.table.to_csv()

    def _repr_html_(self) -> str:
        few = len(self.table) <= SIDE_BY_SIDE
        parts = [(markup.html if few else markup.html_by_row)(self.columns())]
        if len(self.differences):
            parts.append(markup.html_by_row(self.differing()))
        return "".join([*parts, *(f"<p>{escape(note)}</p>" for note in self.notes)])

    def __repr__(self) -> str:
        return f"Comparison of {', '.join(map(str, self.table.index))}"

    def _texts(self) -> list[Column]:
        table = self.table
        found = [texts("run", table.index)]  # of a cell its labels
        if not self.axes and list(table["name"]) != list(table.index):
            found.append(texts("name", table["name"]))
        found.append(texts("protocol", table["protocol"]))
        seeds = "seeds" if (table["seeds"] > 1).any() else "seed"
        return [*found, Column(seeds, tuple("–" if pd.isna(seed) else str(int(seed)) for seed in table[seeds]), True)]

    def _numbers(self) -> list[Column]:
        table, found = self.table, []
        targets = set(table["target_accuracy"].dropna())
        for each in measures.COMPARED:
            if each.column not in table:
                continue
            words = each.words
            if each.path in measures.OF_TARGET and len(targets) == 1:
                words = words.replace("target", f"accuracy {targets.copy().pop():g}")
            spread = f"{each.column}_std"
            counts = list(zip(table[f"{each.column}_n"], table["seeds"], strict=True)) if spread in table else None
            found.append(numbers(words, measures.unit(each.path), table[each.column].tolist(),
                                 table[spread].tolist() if spread in table else None, counts))  # fmt: skip
        if len(targets) > 1:
            found.insert(0, numbers("target accuracy", "", table["target_accuracy"].tolist()))
        return found


def compare(runs: Source | Iterable[Source], target: float | None = None) -> Comparison:
    """One table of runs, each given as `Results`, a run directory, or the folder of a study, which stands for its finished cells.

    Columns of ``table``: the axes of a study; ``name``, ``protocol``, ``seed``, ``seeds`` (how many a row is the mean of);
    ``accuracy`` (as deployed, behind the codecs), ``clean_accuracy`` (without), ``best_accuracy``; ``loss`` and ``perplexity`` of
    language modelling; ``target_accuracy``, and at the first evaluation that reaches it ``time_to_target_s`` and
    ``bytes_to_target``; ``sim_time_s``, ``rounds``; ``total_bytes``, ``uplink_bytes``, ``downlink_bytes``;
    ``total_energy_j``, ``marginal_energy_j`` (without idle), ``compute_energy_j``, ``radio_energy_j``, ``idle_energy_j``;
    ``host_time_s``; ``ended``, ``folder``. What no run has is left out. Of means there are also ``..._std`` and ``..._n``, of how
    many runs. What was learned is left out where the tasks of the runs differ, with a note that says in what.

    Args:
        target: the accuracy of ``time_to_target_s`` in place of each scenario's ``stop.target_accuracy``.

    Raises:
        InputError: there is no run, or one cannot be read.
    """
    if target is not None and not 0.0 <= target <= 1.0:
        raise InputError(f"the target accuracy is from 0 to 1, got {target:g}")
    notes: list[str] = []
    found: list[Results] = []
    rows: list[dict[str, Any]] = []
    for run in read(runs, notes):
        rows.append(_row(run, target))
        found.append(replace(run, events=run.events.iloc[:0]))  # of many runs, not all events at once
    if not found:
        raise InputError("there is no run to compare")
    groups = _configurations(found)
    firsts = [found[group[0]] for group in groups]
    seeded = len(groups) < len(found)
    names = run_names(firsts, means=seeded)
    for label, group in zip(names, groups, strict=True):
        for i in group:
            if rows[i]["ended"] not in ("done", ""):
                notes.append(f"{label}: {found[i].summary.get('outcome') or 'has not ended, or was killed'}")
    left_out: list[str] = []
    if (why := other_task(firsts)) is not None:
        left_out = [each.column for each in measures.COMPARED if each.learned]
        notes.append(f"no accuracies, losses and times to a target: they are on no common axis, as {why}")
    table = pd.DataFrame(
        [_mean([rows[i] for i in group], left_out) for group in groups], index=pd.Index(names, name="run")
    )
    axes = tuple(dict.fromkeys(axis for run in firsts for axis in run.labels))
    differing = differences(firsts, without=("seed",) if seeded else ())
    if len(groups) > 1 and not all(run.scenario for run in firsts):
        unknown = [name for name, run in zip(names, firsts, strict=True) if not run.scenario]
        notes.append(f"what differs is not known of runs without their scenario: {', '.join(unknown)}")
    return Comparison(
        _ordered(table, axes, seeded),
        pd.DataFrame.from_dict(differing, orient="index", columns=names, dtype=object).rename_axis("key"),
        tuple(notes),
        axes,
    )


def _row(run: Results, target: float | None) -> dict[str, Any]:
    """What one run has, measures by their columns."""
    summary = run.summary
    if target is None:
        target = (run.scenario.get("stop") or {}).get("target_accuracy")
    found = {each.column: measures.value(summary, each.path) for each in measures.COMPARED}
    if math.isnan(found["perplexity"]):
        found["loss"] = math.nan
    found |= measures.at_target(run.rounds, math.nan if target is None else target)
    complete, outcome = summary.get("complete", True), str(summary.get("outcome") or "")
    ended = "done" if complete else outcome.partition(":")[0] or "not ended"
    return {**run.labels, "name": run.name, "protocol": run.protocol, "seed": summary.get("seed"), "seeds": 1,
            "target_accuracy": math.nan if target is None else float(target), **found, "ended": ended,
            "folder": None if run.folder is None else str(run.folder)}  # fmt: skip


def _configurations(runs: Sequence[Results]) -> list[list[int]]:
    """Which runs are one row: cells of a study with the same labels; any other run is one by itself."""
    groups: dict[object, list[int]] = {}
    for i, run in enumerate(runs):
        place = run.folder.parent if run.labels and run.folder is not None else i
        groups.setdefault((place, tuple(run.labels.items())), []).append(i)
    return list(groups.values())


def _mean(rows: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> dict[str, Any]:
    """A row of several, with the spread of each measure and how many have it."""
    first, frame = dict(rows[0]), pd.DataFrame(rows)
    for each in measures.COMPARED:
        values = frame[each.column].astype(float)
        keep = each.column not in left_out
        first[each.column] = values.mean() if keep else math.nan
        first[f"{each.column}_std"] = values.std(ddof=1) if keep else math.nan
        first[f"{each.column}_n"] = int(values.notna().sum()) if keep else 0
    if len(rows) > 1:
        first |= {"seed": None, "seeds": len(rows), "ended": ", ".join(dict.fromkeys(frame["ended"])), "folder": None}
    return first


def _ordered(table: pd.DataFrame, axes: Sequence[str], seeded: bool) -> pd.DataFrame:
    """Columns in their order; measures that no run has are left out, and their spread where every row is one run."""
    names = [*axes, "name", "protocol", "seed", "seeds", "target_accuracy"]
    for each in measures.COMPARED:
        if table[each.column].notna().any():
            names += [each.column, *([f"{each.column}_std", f"{each.column}_n"] if seeded else [])]
    return table.reindex(columns=[*names, "ended", "folder"]).astype({"seed": "Int64"})
