"""All figures of a run, or of runs compared, as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..metrics import Results, transfers
from ..staleness import participation
from .bars import bytes_by_kind, bytes_by_link, energy_by_node, energy_by_role
from .curves import accuracy_over_bytes, accuracy_over_rounds, accuracy_over_time, measure
from .privacy import audited, privacy_trade_off, tokens_recovered
from .staleness import influence_by_client, participation_by_client, staleness
from .style import styled
from .timeline import timeline
from .topology_map import topology_map

#: No dates and no versions: the same run gives the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


@styled
def save_figures(results: Sequence[Results], folder: str | Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Draw every figure that the runs have data for into ``folder``; returns the paths written.

    One run: accuracy over time and over bytes, timeline, bytes by kind and by link, topology map, energy by node.
    Several: those that compare them.
    """
    runs, folder = list(results), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Callable[[], Axes]] = {}
    sent = all(len(transfers(run.events)) for run in runs)
    spent = all(run.events["energy_j"].sum() > 0 for run in runs)
    if measure(runs) is not None:
        figures["accuracy_over_time"] = lambda: accuracy_over_time(runs)
        if len(runs) > 1:
            figures["accuracy_over_rounds"] = lambda: accuracy_over_rounds(runs)
        if sent:
            figures["accuracy_over_bytes"] = lambda: accuracy_over_bytes(runs)
    if sent:
        figures["bytes_by_kind"] = lambda: bytes_by_kind(runs)
    if sum(audited(run) for run in runs) > 1:
        figures["privacy_trade_off"] = lambda: privacy_trade_off(runs)
    if all((run.events["kind"] == "update").any() for run in runs):
        figures["staleness"] = lambda: staleness(runs)
        figures["influence"] = lambda: influence_by_client(runs)
    if len(runs) > 1 and spent:
        figures["energy_by_role"] = lambda: energy_by_role(runs)
    if len(runs) == 1:
        (run,) = runs
        if run.events["kind"].isin(["compute", "transfer"]).any():
            figures["timeline"] = lambda: timeline(run)
        if run.privacy is not None:
            figures["tokens_recovered"] = lambda: tokens_recovered(run)
        if len(updates := participation(run.events, run.topology)) and updates.any():
            figures["participation"] = lambda: participation_by_client(run)
        if sent:
            figures["bytes_by_link"] = lambda: bytes_by_link(run)
        if spent:
            figures["energy_by_node"] = lambda: energy_by_node(run)
        figures["topology_map"] = lambda: topology_map(run)
    written = []
    for name, draw in figures.items():
        figure = draw().figure
        assert isinstance(figure, Figure)
        written += write_figure(figure, folder / name, formats)
    return written


@styled
def write_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write a figure as ``path`` with the ending of each format; returns the paths written."""
    written = [path.with_name(f"{path.name}.{kind}") for kind in formats]
    for each, kind in zip(written, formats, strict=True):
        figure.savefig(each, bbox_inches="tight", pad_inches=0.05, metadata=_METADATA.get(kind))
    return written
