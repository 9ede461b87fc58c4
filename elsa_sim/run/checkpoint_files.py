"""Checkpoints on the disk: ``RUN_DIR/checkpoint/`` has the readings of a run, line by line, and a folder per checkpoint.

``readings.jsonl`` grows; a checkpoint says how much of it is its own. ``round-ROUND/`` has ``state.json`` and, as safetensors, the
bytes of all values, with their SHA-256. A folder has its name when the disk has all of it, so what a kill leaves is no checkpoint.
Nothing is pickled. Tested in tests/run/test_checkpoints.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..base import files
from ..base.writing import PARTIAL, shown, synchronise, synchronise_names
from ..learning.execution.journal import OtherRun, Reading, Snapshot
from ..results.manifest import CHECKPOINT, READINGS, STATE
from .checkpoint_state import Arithmetic, Readings, Run, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Bytes of values in one file, about: so much more memory does writing need.
SHARD = 1 << 26
_NAME = re.compile(r"round-(\d+)")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: its folder, and what ``state.json`` says."""

    folder: Path
    state: State

    @property
    def run(self) -> Path:
        """Its run directory."""
        return self.folder.parent.parent

    @property
    def round(self) -> int:
        """The round that had ended."""
        return self.state.round

    @property
    def whole(self) -> bool:
        """Whether all its bytes are what they were when they were written."""
        try:
            values = [files.digest(self.folder / _shard(n))[0] for n in range(len(self.state.shards))]
            return values == self.state.shards and self._readings_digest() == self.state.readings.sha256
        except (OSError, files.Unreadable):
            return False

    def _readings_digest(self) -> str:
        made, left = hashlib.sha256(), self.state.readings.size
        with (self.folder.parent / READINGS).open("rb") as file:
            while left and (block := file.read(min(left, _BLOCK))):
                made.update(block)
                left -= len(block)
        return made.hexdigest()

    def snapshot(self) -> Snapshot:
        """The arithmetic; a value is read when it is asked for."""
        forms, told = self.state.forms, self.state.arithmetic
        # values are asked for in their order, and what is mapped counts as memory
        opened = lru_cache(maxsize=1)(self._opened)
        values = {
            number: partial(self._value, forms, form, places, opened) for number, form, places in self.state.values
        }
        return Snapshot(told.made, told.read, values, told.pending, told.again)

    def _opened(self, shard: int) -> Any:
        from safetensors import safe_open

        file: Any = safe_open(self.folder / _shard(shard), "pt")
        return file.get_slice("bytes")

    def _value(self, forms: list[Any], form: int, places: list[Any], opened: Callable[[int], Any]) -> Any:
        try:
            return _value(forms[form], places, opened)
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            raise OtherRun(f"{shown(self.folder)}: a value cannot be read: {error}") from None

    def readings(self) -> Iterator[Reading]:
        """What was read until then, in order."""
        left = self.state.readings.size
        with (self.folder.parent / READINGS).open("rb") as file:
            while left > 0:
                line = file.readline()
                if (left := left - len(line)) <= 0:  # nobody asks for one more
                    file.close()
                yield tuple(json.loads(line))


def found(run: Path) -> list[Checkpoint]:
    """The checkpoints of a run directory, the latest first; what is none is passed over. Values may still be damaged."""
    made = []
    for folder, round in _folders(run / CHECKPOINT):
        try:
            state = State.model_validate_json((folder / STATE).read_bytes())
        except (OSError, ValidationError, RecursionError):
            continue
        if state.round == round:
            made.append(Checkpoint(folder, state))
    return sorted(made, key=lambda each: each.round, reverse=True)


def _folders(place: Path) -> list[tuple[Path, int]]:
    named = [(each, _NAME.fullmatch(each.name)) for each in place.glob("round-*")]
    return [(each, int(match[1])) for each, match in named if match is not None]


class Folder:
    """``checkpoint/`` of a run that is under way; goes on behind ``after``, and forgets what came later."""

    def __init__(self, run: Path, after: Checkpoint | None = None) -> None:
        self.path = run / CHECKPOINT
        self._size = 0 if after is None else after.state.readings.size
        self._digest = hashlib.sha256()
        for other, round in _folders(self.path):
            if after is None or round > after.round:
                shutil.rmtree(other)
        for other in self.path.glob(f"round-*{PARTIAL}"):
            if _NAME.fullmatch(other.name.removesuffix(PARTIAL)):
                shutil.rmtree(other)
        if after is None:
            (self.path / READINGS).unlink(missing_ok=True)
        else:
            with (self.path / READINGS).open("r+b") as file:
                file.truncate(self._size)
                while block := file.read(_BLOCK):
                    self._digest.update(block)

    def write(self, snapshot: Snapshot, readings: Sequence[Reading], run: Run) -> int:
        """Write a checkpoint, with the ``readings`` since the last one; returns its bytes.

        Raises:
            OSError: it cannot be written.
            NotStorable: a value has a type that cannot be stored.
        """
        folder = self.path / f"round-{run.round}"
        draft = folder.with_name(folder.name + PARTIAL)
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir(parents=True)
            return self._write(snapshot, readings, run, folder, draft)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            self._leave_if_empty()
            raise

    def _write(self, snapshot: Snapshot, readings: Sequence[Reading], run: Run, folder: Path, draft: Path) -> int:
        store = _Store(draft)
        values = [(number, *store.put(value())) for number, value in snapshot.values.items()]
        shards = store.close()
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in readings)
        with (self.path / READINGS).open("ab") as file:
            file.write(lines)
        self._size += len(lines)
        self._digest.update(lines)
        arithmetic = Arithmetic(made=snapshot.made, read=snapshot.read, pending=list(snapshot.pending),
                                again=[list(group) for group in snapshot.again])  # fmt: skip
        told = Readings(size=self._size, sha256=self._digest.hexdigest())
        state = State.model_construct(**dict(run), readings=told, shards=shards, arithmetic=arithmetic,
                                      forms=store.forms, values=values)  # fmt: skip
        (draft / STATE).write_text(json.dumps(state.model_dump()), encoding="utf-8")
        synchronise(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        synchronise_names(self.path)
        return sum(path.stat().st_size for path in folder.iterdir())

    def keep(self, count: int) -> None:
        """Remove all checkpoints but the latest ``count``."""
        for folder, _ in sorted(_folders(self.path), key=lambda each: each[1])[:-count]:
            shutil.rmtree(folder)

    def remove(self) -> None:
        """Remove everything that was written."""
        for folder, _ in _folders(self.path):
            shutil.rmtree(folder)
        (self.path / READINGS).unlink(missing_ok=True)
        self._leave_if_empty()

    def _leave_if_empty(self) -> None:
        with suppress(OSError):  # others keep something there, or it is not there
            self.path.rmdir()


def copied(checkpoint: Checkpoint, run: Path) -> Checkpoint:
    """The same checkpoint in another run directory, which has none, and those before it.

    Raises:
        OSError: it cannot be copied.
    """
    source, target = checkpoint.folder.parent, run / CHECKPOINT
    target.mkdir(exist_ok=True)
    shutil.copy2(source / READINGS, target / READINGS)
    for folder, round in _folders(source):
        if round <= checkpoint.round:
            shutil.copytree(folder, target / folder.name)
    return Checkpoint(target / checkpoint.folder.name, checkpoint.state)


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
        self._digests: list[str] = []

    def put(self, value: Any) -> tuple[int, Any]:
        """The number of the value's form, and where its tensors are: [file, byte] of each, or of the first if others follow it."""
        from ..learning.execution.values import NotStorable, form_of, nbytes, padded

        leaves: list[Tensor] = []
        try:
            text = json.dumps(form_of(value, leaves))
        except (ValueError, RuntimeError) as error:
            raise NotStorable(f"{type(value).__qualname__} ({error})") from None
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

    def close(self) -> list[str]:
        """Write the rest; returns the SHA-256 of each file."""
        if self._waiting:
            self._write()
        return self._digests

    def _write(self) -> None:
        import torch
        from safetensors.torch import save

        from ..learning.execution.values import nbytes, padded

        buffer, at = torch.zeros(self._size, dtype=torch.uint8), 0
        for leaf in self._waiting:
            size = nbytes(leaf.dtype, list(leaf.shape))
            if size:
                buffer[at : at + size] = leaf.detach().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8)
            at += padded(size)
        data = save({"bytes": buffer})
        (self.folder / _shard(self._shard)).write_bytes(data)
        self._digests.append(hashlib.sha256(data).hexdigest())
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
