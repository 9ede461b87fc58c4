"""The study file: a base scenario, the axes that vary, seeds, and what is tabulated.

::

    scenario: base.yaml                  # relative to the study file
    seeds: [1, 2, 3]
    axes:
      system:                            # labels, each with the key paths that it changes
        elsa: {}
        fedavg: {protocol: {kind: fedavg, rounds: 10}, codec: {}}
      partition.alpha: [0.1, 0.5]        # or a key path with its values
    metrics: [accuracy, sim_time_s, bytes.total]

Every combination of the axes is a configuration; a configuration with a seed is a cell. Changes are made in the order of
the file, so a later axis may refine what an earlier one has replaced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from ..base.errors import Fault, InputError, ScenarioError
from ..base.registry import Items, Options
from ..results import measures
from ..scenario import validation
from ..scenario.document import Document, override
from ..scenario.document import read as read_document
from ..scenario.validation import hint
from ..scenario.yaml_reader import brief

#: Key path -> value.
Changes = Mapping[str, Any]
METRICS = ("accuracy", "best_accuracy", "sim_time_s", "bytes.total", "energy_j.marginal")


class StudyOptions(Options):
    """A grid of scenarios and seeds."""

    scenario: str
    """The base scenario, relative to the study file."""
    seeds: Items[tuple[Annotated[int, Field(ge=0, le=2**63 - 1)], ...]] = Field((0,), min_length=1)
    """Every configuration is played once with each of these."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Changes of the base scenario for all cells: key path and value."""
    axes: dict[str, Any] = Field(min_length=1)
    """What varies: a key path with a list of values, or a name with labels and the key paths that each changes."""
    metrics: Items[tuple[str, ...]] = Field(METRICS, min_length=1)
    """What the table holds: paths in a run's summary."""
    target_accuracy: float | dict[str, dict[str, float]] | None = None
    """For time_to_target_s and bytes_to_target, without ending the runs: one, or one for each label of an axis."""
    series: str | None = None
    """The axis whose labels are the lines and bars of the figures; by default the first."""

    @field_validator("seeds", "metrics")
    @classmethod
    def _once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [each for each in dict.fromkeys(value) if value.count(each) > 1]
        if twice:
            raise ValueError(f"{brief(twice[0])} is given twice")
        return value


@dataclass(frozen=True)
class Configuration:
    """One combination of the axes, as a changed base scenario."""

    labels: Mapping[str, str]
    document: Document

    def __str__(self) -> str:
        return "  ".join(f"{axis}={label}" for axis, label in self.labels.items())


@dataclass(frozen=True)
class Study:
    """A study file that was read: its options, and its axes as labels with changes."""

    options: StudyOptions
    axes: Mapping[str, Mapping[str, Changes]]
    base: Document
    file: Path

    @property
    def series(self) -> str:
        """The axis whose labels figures compare."""
        return self.options.series or next(iter(self.axes))

    def chosen(self, only: Sequence[str]) -> dict[str, frozenset[str]]:
        """Axis -> labels, from texts such as ``system=elsa,fedavg``.

        Raises:
            InputError: there is no such axis or label.
        """
        found: dict[str, frozenset[str]] = {}
        for text in only:
            axis, _, labels = text.partition("=")
            if axis not in self.axes:
                raise InputError(f"--only {text}: unknown axis {brief(axis)}{hint(axis, self.axes)}")
            wanted = labels.split(",")
            for label in wanted:
                if label not in self.axes[axis]:
                    raise InputError(f"--only {text}: unknown label {brief(label)}{hint(label, self.axes[axis])}")
            found[axis] = found.get(axis, frozenset()) | frozenset(wanted)
        return found

    def configurations(self, only: Mapping[str, frozenset[str]] | None = None) -> Iterator[Configuration]:
        """All combinations of the axes, the last axis fastest; ``only`` some labels of some axes."""
        chosen = [
            [label for label in labels if only is None or label in only.get(axis, labels)]
            for axis, labels in self.axes.items()
        ]
        for labels in product(*chosen):
            document = self.base
            for axis, label in zip(self.axes, labels, strict=True):
                for path, value in self.axes[axis][label].items():
                    document = _changed(document, path, value, f"axis {axis}, {label}")
            yield Configuration(dict(zip(self.axes, labels, strict=True)), document)

    def target(self, labels: Mapping[str, str]) -> float:
        """The target accuracy of a configuration; NaN without one."""
        stated = self.options.target_accuracy
        if stated is None or isinstance(stated, float):
            return math.nan if stated is None else stated
        return next(
            (t for axis, targets in stated.items() for label, t in targets.items() if labels[axis] == label), math.nan
        )


def read(path: Path, overrides: tuple[str, ...] = ()) -> Study:
    """The study in the file ``path``; ``overrides`` are further ``--set`` texts for the base scenario.

    Raises:
        ScenarioError: the file or its base scenario cannot be used; all its faults.
    """
    document = read_document(path)
    options, faults = validation.examine(StudyOptions, document)
    if options is None:
        raise ScenarioError(str(path), faults)
    axes: dict[str, dict[str, Changes]] = {}
    for axis, given in options.axes.items():
        try:
            axes[axis] = _labelled(axis, given)
        except _Wrong as wrong:
            faults.append(document.fault(("axes", axis, *wrong.place), str(wrong)))
            axes[axis] = {}
    faults += [document.fault(place, message) for place, message in _unfit(options, axes)]
    try:
        base = read_document(document.folder / options.scenario)
    except ScenarioError as error:
        faults += [document.fault(("scenario",), f"{options.scenario}: {fault}") for fault in error.faults]
        base = Document()
    for key, value in options.set.items():
        base = _changed(base, key, value, f"set of {path.name}")
    if faults:
        raise ScenarioError(str(path), validation.in_order(faults))
    for text in overrides:
        base = override(base, text)
    return Study(options, axes, base, path)


class _Wrong(ValueError):
    """What is wrong with an axis, and where in it."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


def _changed(document: Document, path: str, value: Any, origin: str) -> Document:
    """With a change that cannot be made as one more of its faults."""
    try:
        return document.changed(tuple(path.split(".")), value, origin)
    except ValueError as error:
        fault = Fault(path, f"{error} (from {origin})")
        return replace(document, faults=(*document.faults, fault))


def _labelled(axis: str, given: Any) -> dict[str, Changes]:
    """Label -> changes of an axis."""
    if isinstance(given, list) and given:
        labels: dict[str, Changes] = {}
        for index, value in enumerate(given):
            if isinstance(value, dict | list):
                raise _Wrong(f"{brief(value)} has no label; write LABEL: {{{axis}: ...}} instead of a list", index)
            if (label := str(value)) in labels:
                raise _Wrong(f"{label} is given twice", index)
            labels[label] = {axis: value}
        return labels
    if isinstance(given, dict) and given:
        for label, changes in given.items():
            if changes is not None and not isinstance(changes, dict):
                raise _Wrong(
                    f"expected key paths with their values, such as {{protocol.rounds: 3}}, got {brief(changes)}", label
                )
        return {label: changes or {} for label, changes in given.items()}
    raise _Wrong(f"expected a list of values, or labels with the key paths that each changes, got {brief(given)}")


def _unfit(
    options: StudyOptions, axes: Mapping[str, Mapping[str, Changes]]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What does not fit together."""
    for index, metric in enumerate(options.metrics):
        if not measures.known(metric):
            names = [*measures.UNITS, *(f"{start}..." for start in measures.OPEN)]
            yield ("metrics", index), f"unknown metric {brief(metric)}{hint(metric, names)}"
        elif metric in measures.OF_TARGET and options.target_accuracy is None:
            yield ("metrics", index), f"{metric} needs a target_accuracy"
    if options.series is not None and options.series not in axes:
        yield ("series",), f"unknown axis {brief(options.series)}{hint(options.series, axes)}"
    if isinstance(options.target_accuracy, dict):
        for axis, targets in options.target_accuracy.items():
            if axis not in axes:
                yield ("target_accuracy", axis), f"unknown axis {brief(axis)}{hint(axis, axes)}"
                continue
            for label in targets:
                if label not in axes[axis]:
                    yield ("target_accuracy", axis, label), f"unknown label {brief(label)}{hint(label, axes[axis])}"
