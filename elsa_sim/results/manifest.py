"""Which files of a run directory a run wrote, so that what somebody else keeps there is never taken for them.

A run that has ended lists its files in ``manifest.json``, with the digests of trained adapters. A run
directory without a manifest (of a run that was killed, or of an earlier version) is told by the names that runs give their
files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..base.files import digest
from ..base.writing import PARTIAL, write_text
from .event_table import STREAM, TABLE, holds_no_rows

MANIFEST, LOCK, FIGURES, ADAPTERS, CHECKPOINT = "manifest.json", ".lock", "figures", "adapters", "checkpoint"
#: What a run calls files below ``checkpoint/``, beside ``values-NUMBER.safetensors``.
READINGS, STATE = "readings.jsonl", "state.json"
#: What a run calls files below ``adapters/``.
_OF_ADAPTERS = {"README.md", "adapter_config.json", "adapter_model.safetensors", "model.safetensors", "config.json",
                "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model"}  # fmt: skip
_OF_CHECKPOINT = re.compile(
    rf"{CHECKPOINT}/({re.escape(READINGS)}|round-\d+({PARTIAL})?/({re.escape(STATE)}|values-\d+\.safetensors))"
)
#: Why a cell of a study failed, in its run directory.
REASON = "failed.txt"
#: What nodes drew from distributions.
POPULATION = "population.csv"
#: Every file that a run writes, but for its figures.
NAMES = ("scenario.yaml", "topology.json", POPULATION, TABLE, STREAM, "rounds.csv", "summary.json", "privacy.csv", "trace.json",
         REASON, MANIFEST, LOCK)  # fmt: skip


def partial_of(folder: Path) -> Path:
    """Where a run directory is written until its run has ended."""
    return folder.with_name(folder.name + PARTIAL)


def is_run_directory(folder: Path) -> bool:
    """Whether a run wrote into ``folder``."""
    if listed(folder) is not None:
        return True
    return (folder / "topology.json").exists() and any((folder / name).exists() for name in (TABLE, STREAM))


def finished(folder: Path) -> bool:
    """Whether ``folder`` holds a run that has ended as it should; its summary says so."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(summary, dict) and summary.get("complete", True) is True


def holds_nothing(folder: Path) -> bool:
    """Whether a run recorded nothing yet in ``folder``: no event, and no checkpoint that it could go on from."""
    return holds_no_rows(folder) and not any((folder / CHECKPOINT).glob(f"*/{STATE}"))


def listed(folder: Path) -> list[str] | None:
    """The files that the manifest lists, as relative paths; ``None`` if there is no manifest that can be read."""
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(names, list):
        return None
    return [name for name in names if isinstance(name, str) and _inside(name)]


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def written(folder: Path) -> list[str]:
    """The files in ``folder`` that a run wrote, as relative paths."""
    known = listed(folder)
    names = {*NAMES, *(name + PARTIAL for name in NAMES), *(known or ())}
    if known is None:  # no strangers' figures are known
        names |= {
            name for name in below(folder, ADAPTERS) if PurePosixPath(name.removesuffix(PARTIAL)).name in _OF_ADAPTERS
        }
        names |= {name for name in below(folder, CHECKPOINT) if _OF_CHECKPOINT.fullmatch(name)}
        names |= {f"{FIGURES}/{path.name}" for kind in ("png", "pdf") for path in (folder / FIGURES).glob(f"*.{kind}")}
    return sorted(name for name in names if (folder / name).is_file())


def below(folder: Path, name: str) -> set[str]:
    """All files in the folder ``name`` of a run directory and in its folders, as relative paths."""
    return {path.relative_to(folder).as_posix() for path in (folder / name).rglob("*") if path.is_file()}


def write(folder: Path) -> None:
    """List the files of a run that has ended. A folder that a run made holds nothing else, whatever its figures are."""
    names = sorted({*written(folder), *below(folder, ADAPTERS), *below(folder, CHECKPOINT), MANIFEST} - {LOCK})
    _list(folder, names)


def add(folder: Path, paths: Iterable[Path]) -> None:
    """List further files of the run in ``folder``, if it has a manifest and they are in it."""
    known = listed(folder)
    if known is not None:
        more = {path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder)}
        if not more <= set(known):
            _list(folder, sorted({*known, *more}))


def _list(folder: Path, names: list[str]) -> None:
    """Write the manifest: the files, and the SHA-256 of trained adapters."""
    adapters = [name for name in names if name.endswith(".safetensors") and PurePosixPath(name).parts[0] == ADAPTERS]
    values = {name: digest(folder / name)[0] for name in adapters}
    told = {"files": names} | ({"sha256": values} if values else {})
    write_text(folder / MANIFEST, json.dumps(told, indent=1) + "\n")
