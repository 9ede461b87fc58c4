"""Files appear as a whole, and what the operating system refuses is told in one line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from elsa_sim.base.errors import DiskFull, InputError
from elsa_sim.base.writing import is_full, refused, replacing, shown, synchronise, write_text


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(TypeError), replacing(path) as partial:
        partial.write_bytes("half")  # type: ignore[arg-type]
    write_text(tmp_path / "other", "é")
    assert {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir()} == {"file": "new", "other": "é"}


def test_everything_in_a_folder_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_text(name)
    (tmp_path / "gone").symlink_to("nowhere")
    done: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.fstat(number).st_ino))
    synchronise(tmp_path)
    wanted = [tmp_path, *(tmp_path / name for name in ("a", "a/b", "one", "a/two", "a/b/three"))]
    assert sorted(done) == sorted(path.stat().st_ino for path in wanted)


def test_a_full_disk_is_no_bad_input() -> None:
    told = refused(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/file"))
    assert (type(told), str(told)) == (DiskFull, "a/file: No space left on device")
    told = refused(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "a/file"), "DIR: no")
    assert (type(told), str(told)) == (InputError, "DIR: no: Permission denied")
    assert is_full(
        OSError("Error writing bytes to file. Detail: [errno 28] No space left on device")
    )  # as Arrow says it
    assert not is_full(OSError("something else"))
    assert not is_full(ValueError("No space left on device"))


def test_a_path_is_shown_in_one_short_line() -> None:
    assert shown(Path("runs/a b")) == "runs/a b"
    assert "\n" not in shown("two\nlines")
    assert len(shown("x" * 5000)) < 200
