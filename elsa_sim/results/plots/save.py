"""All figures of a run, or of runs compared, as files; and any one of them by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import matplotlib.figure
from matplotlib.axes import Axes

from ...base.errors import InputError, RunFailed, unexpected
from ...base.registry import discover, load_entry_points
from ...base.writing import is_full, refused, replacing
from ..differences import other_task
from ..run_directory import Results
from .base import Figure
from .style import Runs, several, styled

#: No dates and no versions: the same run gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def figures() -> Mapping[str, type[Figure]]:
    """Every figure there is, by name: those of this package, of plugins that are imported, and of installed plugins."""
    _discovered()
    return {kind: cast(type[Figure], Figure.members[kind]) for kind in sorted(Figure.members)}


@cache
def _discovered() -> None:
    discover(__package__)
    load_entry_points()


def _for(runs: Sequence[Results]) -> list[Figure]:
    """The figures that show so many runs, by name."""
    fitting = ("any", "one" if len(runs) == 1 else "several")
    return [figure.model_validate({}) for figure in figures().values() if figure.shows in fitting]


@styled
def draw(kind: str, results: Runs, ax: Axes | None = None) -> Axes:
    """Draw the figure of that name, also one of a plugin, into ``ax`` or into a new figure; returns the axes.

    Raises:
        InputError: there is no such figure, or the runs do not have the data for it.
    """
    runs = several(results)
    if kind not in figures():
        raise InputError(f"there is no figure {kind!r}; valid: {', '.join(figures())}")
    for figure in _for(runs):
        if figure.kind == kind and figure.applies(runs):
            return figure.draw(runs, ax)
    shown = {"one": "one run", "several": "several runs compared", "any": "runs"}[figures()[kind].shows]
    why = other_task(runs)
    told = "" if why is None else f"; what they learned is on no common axis: {why}"
    raise InputError(f"there is nothing to draw: {kind!r} shows {shown}, with the data for it; got {len(runs)}{told}")


@styled
def save_figures(results: Runs, folder: str | Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Draw every figure that the runs have data for into ``folder``; returns the paths written, by name.

    Raises:
        OSError: the folder cannot be made.
        RunFailed: figures cannot be drawn; the message names them, and all others are written. Or the disk is full.
    """
    runs, folder = several(results), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    failed: list[str] = []
    for figure in _for(runs):
        try:
            if figure.applies(runs):
                written += write_figure(figure.draw(runs).figure, folder / figure.kind, formats)
        except Exception as error:  # a plugin's, too: the run is not lost for a figure of it
            if isinstance(error, OSError) and is_full(error):
                raise refused(error) from None
            failed.append(f"{figure.kind}: {unexpected(error)}")
    if failed:
        raise RunFailed(f"figures that cannot be drawn, while all others are: {'; '.join(failed)}")
    return written


@styled
def write_figure(figure: Any, path: Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write a matplotlib figure as ``path`` with the ending of each format; returns the paths written."""
    assert isinstance(figure, matplotlib.figure.Figure)
    written = [path.with_name(f"{path.name}.{kind}") for kind in formats]
    engine = figure.get_layout_engine()
    figure.draw_without_rendering()
    cut = figure.get_tightbbox().padded(0.05)
    figure.set_layout_engine(None)  # it was laid out: savefig would do so again, twice for each format
    try:
        for each, kind in zip(written, formats, strict=True):
            with replacing(each) as partial:
                figure.savefig(partial, format=kind, bbox_inches=cut, metadata=_METADATA.get(kind))
    finally:
        figure.set_layout_engine(engine)
    return written
