"""Checkpoints on the disk: ``RUN_DIR/checkpoint/`` has the readings of a run, line by line, and a folder per checkpoint.

``readings.jsonl`` grows; a checkpoint says how much of it is its own. ``round-ROUND/`` has ``state.json`` and, as safetensors, the
bytes of all values. A folder has its name when the disk has all of it, so what a kill leaves is no checkpoint. Nothing is pickled.
Tested in tests/run/test_checkpoints.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import InputError
from ..base.writing import PARTIAL, shown, synchronise, synchronise_names
from ..learning.execution.journal import Reading, Snapshot
from ..results.manifest import CHECKPOINT, READINGS, STATE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: What this program writes and reads.
FORMAT = 1
#: Bytes of values in one file, about: so much more memory does writing need.
SHARD = 1 << 26
_NAME = "round-"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: its folder, and what ``state.json`` says."""

    folder: Path
    state: Mapping[str, Any]

    @property
    def run(self) -> Path:
        """Its run directory."""
        return self.folder.parent.parent

    @property
    def round(self) -> int:
        """The round that had ended."""
        return int(self.state["round"])

    def snapshot(self) -> Snapshot:
        """The arithmetic; a value is read when it is asked for."""
        forms, arithmetic = self.state["forms"], self.state["arithmetic"]
        opened = lru_cache(maxsize=1)(
            self._opened
        )  # values are asked for in their order; what is mapped counts as memory
        values = {number: partial(_value, forms[form], places, opened) for number, form, places in self.state["values"]}
        return Snapshot(arithmetic["made"], arithmetic["read"], values, arithmetic["pending"], arithmetic["again"])

    def _opened(self, shard: int) -> Any:
        from safetensors import safe_open

        file: Any = safe_open(self.folder / _shard(shard), "pt")
        return file.get_slice("bytes")

    def readings(self) -> Iterator[Reading]:
        """What was read until then, in order."""
        left = int(self.state["readings_bytes"])
        with (self.folder.parent / READINGS).open("rb") as file:
            while left > 0:
                line = file.readline()
                left -= len(line)
                what, found = json.loads(line)
                yield what, found


def found(run: Path) -> list[Checkpoint]:
    """The checkpoints of a run directory that are whole, the latest first."""
    made = []
    for folder in (run / CHECKPOINT).glob(f"{_NAME}*"):
        try:
            state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            there = (folder.parent / READINGS).stat().st_size >= int(state["readings_bytes"])
            whole = there and all((folder / _shard(n)).is_file() for n in range(int(state["shards"])))
            if whole and isinstance(state["round"], int) and folder.name == f"{_NAME}{state['round']}":
                made.append(Checkpoint(folder, state))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return sorted(made, key=lambda each: each.round, reverse=True)


class Folder:
    """``checkpoint/`` of a run that is under way; goes on behind ``after``, and forgets what came later."""

    def __init__(self, run: Path, after: Checkpoint | None = None) -> None:
        self.path = run / CHECKPOINT
        self._bytes = 0 if after is None else int(after.state["readings_bytes"])
        for other in self.path.glob(f"*{_NAME}*"):
            if after is None or other.name.endswith(PARTIAL) or int(other.name.removeprefix(_NAME)) > after.round:
                shutil.rmtree(other)
        if after is None:
            (self.path / READINGS).unlink(missing_ok=True)
        else:
            with (self.path / READINGS).open("r+b") as file:
                file.truncate(self._bytes)

    def write(self, snapshot: Snapshot, readings: Sequence[Reading], state: Mapping[str, Any]) -> int:
        """Write a checkpoint, with the ``readings`` since the last one; returns its bytes.

        Raises:
            OSError: it cannot be written.
            NotStorable: a value has a type that cannot be stored.
        """
        folder = self.path / f"{_NAME}{state['round']}"
        draft = folder.with_name(folder.name + PARTIAL)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        store = _Store(draft)
        values = [(number, *store.put(value())) for number, value in snapshot.values.items()]
        shards = store.close()
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in readings)
        with (self.path / READINGS).open("ab") as file:
            file.write(lines)
        self._bytes += len(lines)
        arithmetic = {
            "made": snapshot.made,
            "read": snapshot.read,
            "pending": snapshot.pending,
            "again": snapshot.again,
        }
        told = {"format": FORMAT, **state, "readings_bytes": self._bytes, "shards": shards, "arithmetic": arithmetic,
                "forms": store.forms, "values": values}  # fmt: skip
        (draft / STATE).write_text(json.dumps(told), encoding="utf-8")
        synchronise(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        synchronise_names(self.path)
        return sum(path.stat().st_size for path in folder.iterdir())

    def keep(self, count: int) -> None:
        """Remove all checkpoints but the latest ``count``."""
        rounds = sorted(int(each.name.removeprefix(_NAME)) for each in self.path.glob(f"{_NAME}*[0-9]"))
        for round in rounds[:-count]:
            shutil.rmtree(self.path / f"{_NAME}{round}")

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)


def copied(checkpoint: Checkpoint, run: Path) -> Checkpoint:
    """The same checkpoint in another run directory, which has none.

    Raises:
        InputError: it is damaged.
    """
    target = run / CHECKPOINT
    target.mkdir()
    shutil.copy2(checkpoint.folder.parent / READINGS, target / READINGS)
    shutil.copytree(checkpoint.folder, target / checkpoint.folder.name)
    for each in found(run):
        return each
    raise InputError(f"{shown(checkpoint.folder)} was changed meanwhile")


def _shard(number: int) -> str:
    return f"values-{number + 1:05d}.safetensors"


class _Store:
    """Puts values into files; what several values share is there once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forms: list[Any] = []
        self._known: dict[str, int] = {}
        self._places: dict[int, list[int]] = {}
        self._held: list[Tensor] = []  # so that no other tensor gets the id of one of them
        self._waiting: list[Tensor] = []
        self._shard, self._size = 0, 0

    def put(self, value: Any) -> tuple[int, Any]:
        """The number of the value's form, and where its tensors are: [file, byte] of each, or of the first if others follow it."""
        from ..learning.execution.values import form_of, nbytes, padded

        leaves: list[Tensor] = []
        text = json.dumps(form_of(value, leaves))
        if text not in self._known:
            self._known[text] = len(self.forms)
            self.forms.append(json.loads(text))
        if self._size >= SHARD:
            self._write()
        places, fresh = [], True
        for leaf in leaves:
            if id(leaf) in self._places:
                fresh = False
            else:
                self._places[id(leaf)] = [self._shard, self._size]
                self._held.append(leaf)
                self._waiting.append(leaf)
                self._size += padded(nbytes(leaf.dtype, list(leaf.shape)))
            places.append(self._places[id(leaf)])
        return self._known[text], places[0] if fresh and places else places

    def close(self) -> int:
        """Write the rest; returns the number of files."""
        if self._waiting:
            self._write()
        return self._shard

    def _write(self) -> None:
        import torch
        from safetensors.torch import save_file

        from ..learning.execution.values import nbytes, padded

        buffer, at = torch.zeros(self._size, dtype=torch.uint8), 0
        for leaf in self._waiting:
            size = nbytes(leaf.dtype, list(leaf.shape))
            if size:
                buffer[at : at + size] = leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            at += padded(size)
        save_file({"bytes": buffer}, self.folder / _shard(self._shard))
        self._shard, self._size, self._waiting = self._shard + 1, 0, []


def _value(form: Any, places: Any, opened: Callable[[int], Any]) -> Any:
    from ..learning.execution.values import nbytes, padded, value_of

    following = bool(places) and not isinstance(places[0], list)
    shard, at = places if following else (0, 0)
    left = iter(() if following else places)

    def leaf(dtype: torch.dtype, shape: list[int]) -> Tensor:
        nonlocal shard, at
        if not following:
            shard, at = next(left)
        size = nbytes(dtype, shape)
        tensor: Tensor = opened(shard)[at : at + size].clone().view(dtype).view(shape)
        at += padded(size)
        return tensor

    return value_of(form, leaf)
