"""A scenario however it is given: a file, a mapping, options, or one that was loaded."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from ..base.errors import Fault, InputError, ScenarioError
from . import dump, model
from .document import Document
from .model import Loaded, Scenario
from .yaml_reader import MAX_DEPTH, Place, brief, dotted

#: The path of a scenario file, what such a file would say, or what was made of one.
Given: TypeAlias = str | Path | Mapping[str, Any] | Scenario | Loaded


def loaded_from(scenario: Given, overrides: Sequence[str] = ()) -> Loaded:
    """The scenario with the document behind it, changed by ``--set`` texts; what is wrong with it is in its ``faults``.

    A mapping is looked at as a file in the current folder would be. A `Scenario` is written out and looked at again, so that
    its sections are held against each other, too.

    Raises:
        InputError: it is none of these.
        ScenarioError: there is nothing that could be looked at.
    """
    if isinstance(scenario, Loaded):
        if not overrides:
            return scenario
        if not scenario.document.data:  # made from options
            scenario = replace(scenario, document=_written(scenario))
        return model.examined(scenario.document, overrides)
    if isinstance(scenario, str | Path):
        return model.examine(scenario, overrides)
    if isinstance(scenario, Scenario):
        return model.examined(_written(Loaded(scenario)), overrides)
    if isinstance(scenario, Mapping):
        return model.examined(Document(data=_data(scenario)), overrides)
    raise InputError(
        "expected a scenario: the path of a file, a mapping of sections, a Scenario, or what load_scenario returns; "
        f"got {brief(scenario)}"
    )


def _written(loaded: Loaded) -> Document:
    return Document(data=dump.plain(loaded), folder=loaded.document.folder)


def _data(value: Any, place: Place = ()) -> Any:
    """What a file would hold in place of a mapping's value."""
    if len(place) > MAX_DEPTH:
        raise ScenarioError("scenario", [Fault(dotted(place[:3]), f"nested deeper than {MAX_DEPTH} levels")])
    if isinstance(value, BaseModel):
        return dump.options(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ScenarioError("scenario", [Fault(dotted(place), f"expected text as keys, got {brief(key)}")])
        return {key: _data(each, (*place, key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_data(each, (*place, i)) for i, each in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):  # numpy's, too
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value
