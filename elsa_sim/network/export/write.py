"""Scenes into files."""

from __future__ import annotations

from pathlib import Path

from ...base.errors import InputError, InputFaults
from ...base.writing import refused, shown, write_text
from .formats import Format
from .scene import Scene


def write(scene: Scene, name: str, folder: str | Path, replace: bool = False) -> list[Path]:
    """Write the files of the format ``name`` into ``folder``, which is made where it is not there; returns their paths.

    Raises:
        InputFaults: all that the format cannot say of the scene.
        InputError: there is no such format, or a file is there already and is not to be replaced.
    """
    if name not in Format.members:
        raise InputError(f"there is no format {name[:60]!r}; there are {', '.join(sorted(Format.members))}")
    made, folder = Format.members[name](), Path(folder)
    faults = made.faults(scene)
    if faults:
        raise InputFaults(faults)
    files = {folder / file: text for file, text in made.files(scene).items()}
    there = [shown(path) for path in files if path.exists()]
    if there and not replace:
        raise InputError(f"{there[0]} is there already; choose another folder, or replace it (--force)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            write_text(path, text)
    except OSError as error:
        raise refused(error) from None
    return list(files)
