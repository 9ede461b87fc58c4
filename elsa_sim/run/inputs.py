"""Which files a run depends on: those that its scenario names, its checkpoint's, and the modules of its plugins.

They are noted in the context while they are checked, and their digests are in the key of a study's cell.

Not seen: files that a plugin opens without `Context.read`, or that no option names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..base import files
from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..learning.backbone import weights
from ..learning.backbone.adapters import adapter_files, examine_adapters
from ..learning.backbone.options import DECODERS, Source, locate
from ..learning.backbone.tokenizers import vocabulary_for
from ..learning.tasks.base import Texts, Vocabulary
from ..scenario.dump import names_file
from ..scenario.model import Loaded, Scenario
from .plugin_sources import plugin_sources


def named(loaded: Loaded) -> dict[str, str]:
    """SHA-256 of every file that the scenario names, by absolute path, of its checkpoint's files, and of its plugins' modules.

    What cannot be read is left out: that is a fault which a check tells.
    """
    scenario, context = loaded.scenario, loaded.context
    found: dict[str, Path] = {}
    for name in type(scenario).model_fields:
        for key, text in _texts(name, getattr(scenario, name)):
            if not names_file(key) and not os.path.isabs(text):
                continue
            try:
                path = context.file(text, "")
            except InputFaults:
                continue
            found[str(path)] = path
    try:
        source = locate(scenario.backbone, context)
        of_backbone = weights.tokenizer_files(source)
        if scenario.execution.mode != "timing":
            of_backbone |= weights.weight_files(source)
        found |= {f"backbone/{name}": path for name, path in of_backbone.items()}
        found |= {f"adapters/{name}": path for name, path in adapter_files(source).items()}
    except InputFaults:
        pass
    digests = {}
    for name, path in (found | {**scenario.task.files()} | plugin_sources(scenario)).items():
        try:
            digests[name] = files.digest(path)[0]
        except files.Unreadable:
            continue
    return dict(sorted(digests.items()))


def texts_of(scenario: Scenario, context: Context) -> Texts:
    """The texts of the scenario's task.

    Raises:
        InputFaults: see `Task.read`.
    """
    for name, path in scenario.task.files().items():
        context.inputs.will_be_read(name, path, "")
    return scenario.task.read(context)


def vocabulary_of(scenario: Scenario, source: Source, texts: Texts, context: Context) -> Vocabulary:
    """What the run's tokenizer will know, if the backbone can learn the task at all.

    Raises:
        InputFaults: it cannot, or its tokenizer cannot be had.
    """
    if scenario.task.objective == "causal_lm" and not source.architecture.decoder:
        valid = ", ".join(DECODERS)
        message = f"{scenario.backbone.name!r} is an encoder; causal_lm needs a decoder: {valid}"
        raise InputFaults([Fault("name", message)])
    _on_paper(scenario, source)
    _noted(scenario, weights.tokenizer_files(source), context)
    return vocabulary_for(source, scenario.task, texts)


def _on_paper(scenario: Scenario, source: Source) -> None:
    """Raise if an architecture of the catalogue is asked for more than it has."""
    name, real = scenario.backbone.name, scenario.execution.mode == "real"
    if source.hub is not None and (real or not scenario.task.textless):
        lacks = "weights" if real else "a tokenizer"
        other = f"name a folder that has them, or the hub id {source.hub}"
        what = f"{name!r} is an architecture of the catalogue, without {lacks}: valid with execution.mode: timing and task.kind: "
        raise InputFaults([Fault("name", f"{what}lengths; else {other}")])


def drawn_of(scenario: Scenario, source: Source, texts: Texts, context: Context) -> tuple[str, ...]:
    """Notes on the weights and adapters that a run will load, if it loads any.

    Raises:
        InputFaults: they cannot be loaded.
    """
    options, causal = scenario.backbone, scenario.task.objective == "causal_lm"
    for name, path in adapter_files(source).items():
        context.inputs.will_be_read(f"{options.adapters}/{name}", path, "adapters")
    started = examine_adapters(source, options.lora, name=options.name, causal_lm=causal, labels=texts.labels)
    if scenario.execution.mode == "timing":
        return started
    _noted(scenario, weights.weight_files(source), context)
    return (*weights.examine(source, causal_lm=causal, labels=texts.labels), *started)


def _noted(scenario: Scenario, found: Mapping[str, Path], context: Context) -> None:
    for name, path in found.items():
        context.inputs.will_be_read(f"{scenario.backbone.name}/{name}", path, "name")


def note_plugins(scenario: Scenario, context: Context) -> None:
    """Add the modules of the scenario's plugins to the context's inputs.

    Raises:
        InputFaults: one of them is gone.
    """
    for name, path in plugin_sources(scenario).items():
        context.inputs.will_be_read(name, path, "")


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    for name, each in _inside(value):
        yield from _texts(name or key, each)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """The values in options, with their keys."""
    if isinstance(value, BaseModel):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)
        yield from (value.model_extra or {}).items()
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from (("", each) for each in value)
