"""Locks keep others out while their process lives, also where the file changes its place."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elsa_sim.base.locks import Held, Lock

HOLDS = """
import sys
from pathlib import Path
from elsa_sim.base.locks import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    first = Lock(tmp_path / "lock")
    with pytest.raises(Held, match=rf"^{os.getpid()}$"):
        Lock(tmp_path / "lock")
    first.release()
    Lock(tmp_path / "lock").release()


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Held, match=rf"^{holder.pid}$"):
            Lock(path)
        holder.kill()
        holder.wait()
    Lock(path).release()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_on_a_file_that_moved_away_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and locking it, whoever held it gave its folder another name."""
    (tmp_path / "a").mkdir()
    flock, moved = fcntl.flock, []

    def late(number: int, how: int) -> None:
        if not moved:
            (tmp_path / "a").rename(tmp_path / "b")
            (tmp_path / "a").mkdir()
            moved.append(number)
        flock(number, how)

    monkeypatch.setattr(fcntl, "flock", late)
    lock = Lock(tmp_path / "a" / "lock")
    with pytest.raises(Held):
        Lock(tmp_path / "a" / "lock")
    Lock(tmp_path / "b" / "lock").release()
    lock.release()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(number: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    Lock(tmp_path / "lock").release()


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "nowhere" / "lock")
