"""A scenario written out again in full, so that it repeats the run.

Tested in tests/scenario/test_model.py and tests/scenario/test_fuzz.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..base.context import Context
from ..base.errors import InputFaults
from ..base.registry import Options
from ..learning.backbone.configuration import BUILT_IN
from ..learning.backbone.options import adapters_folder
from .model import Loaded, Scenario
from .yaml_reader import write


def dump(loaded: Loaded) -> str:
    """The scenario as YAML that repeats the run from any folder; see :func:`plain`."""
    return write(plain(loaded))


def plain(loaded: Loaded) -> dict[str, Any]:
    """The scenario as plain data that repeats the run: defaults written out, files by their absolute paths.

    A section that refuses options without effect is written as it was given.
    """
    data: dict[str, Any] = {}
    for name in Scenario.model_fields:
        section = getattr(loaded.scenario, name)
        if section is None:
            continue  # a section that is left out
        data[name] = _plain(section)
        data[name] = _files_absolute(data[name], loaded.context)
        if name == "backbone":
            data[name]["name"] = _folder_absolute(data[name]["name"], loaded.context)
            if "adapters" in data[name]:
                data[name]["adapters"] = _adapters_absolute(loaded)
        if isinstance(section, BaseModel):
            try:
                type(section).model_validate(data[name])
            except ValidationError:
                given = _plain(section, only_given=True)
                data[name] = {key: value for key, value in data[name].items() if key in given}
    return data


#: Names of options that name a file, in whatever section; others end in ``_file``.
FILE_OPTIONS = ("train", "test", "file", "trace")


def names_file(option: str) -> bool:
    """Whether an option of this name, in whatever section, names a file."""
    return option in FILE_OPTIONS or option.endswith("_file")


def _files_absolute(value: Any, context: Context) -> Any:
    if isinstance(value, list):
        return [_files_absolute(item, context) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _files_of(item, context) if names_file(key) else _files_absolute(item, context)
        for key, item in value.items()
    }


def _files_of(value: Any, context: Context) -> Any:
    """What an option that names a file holds: a path, options with one, or a choice of several."""
    if isinstance(value, str):
        return _file_absolute(value, context)
    made = _files_absolute(value, context)
    if isinstance(made, dict) and isinstance(made.get("of"), list):
        made["of"] = [_files_of(each, context) for each in made["of"]]
    return made


def _file_absolute(path: str, context: Context) -> str:
    try:
        return str(context.file(path, ""))
    except InputFaults:
        return path


def _folder_absolute(path: str, context: Context) -> str:
    if path in (*BUILT_IN, "minilm"):
        return path
    for place in (Path(path), context.folder / path):
        try:
            if (place / "config.json").is_file():
                return str(place.resolve())
        except (OSError, ValueError):
            break
    return path  # a name on the hub


def _adapters_absolute(loaded: Loaded) -> str | None:
    options = loaded.scenario.backbone
    try:
        folder = adapters_folder(options, loaded.context)
    except InputFaults:
        return options.adapters
    return None if folder is None else str(folder)


def options(value: BaseModel) -> dict[str, Any]:
    """Options as plain data: those that were given."""
    made: dict[str, Any] = _plain(value, only_given=True)
    return made


def _plain(value: Any, only_given: bool = False) -> Any:
    """Options as plain data, by the keys of a scenario file; null is left out where it is the default."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        names = sorted(fields, key=lambda name: name != "kind")
        stated_only = value.stated_only if isinstance(value, Options) else ()
        given = {
            name: getattr(value, name)
            for name in names
            if name in value.model_fields_set or not (only_given or name in stated_only)
        }
        return {
            fields[name].alias or name: _plain(each, only_given or name in stated_only)
            for name, each in given.items()
            if each is not None or fields[name].default is not None
        } | {name: _plain(each, only_given) for name, each in (value.model_extra or {}).items()}
    if isinstance(value, dict):
        return {key: _plain(each, only_given) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, only_given) for each in value]
    return value
