"""Only regular files are read, no more of them than a bound, and digests are of their contents."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from elsa_sim.base import files
from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputError, InputFaults
from elsa_sim.base.files import Unreadable, Version, digest, read
from elsa_sim.base.streams import Streams


def folder(path: Path) -> None:
    path.mkdir()


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 200 * 2**30)


SPECIAL: list[tuple[Callable[[Path], None], str]] = [
    (folder, "is a folder; a regular file is needed"),
    (os.mkfifo, "is a pipe; a regular file is needed"),
    (bound, "is a socket; a regular file is needed"),
    (lambda path: path.symlink_to("/dev/zero"), "is a device; a regular file is needed"),
    (lambda path: path.symlink_to("/proc/kmsg"), "is made by the system"),
    (lambda path: path.symlink_to("/proc/cpuinfo"), "is made by the system"),
    (lambda path: path.symlink_to("/sys/kernel/mm/transparent_hugepage/enabled"), "is made by the system|no such"),
    (sparse, r"has 214748364800 bytes \(.*\); at most 2147483648 bytes \(.*\) are read"),
]


@pytest.mark.parametrize(("make", "message"), SPECIAL)
def test_what_is_no_regular_file_of_moderate_size_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], message: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    make(Path("it"))
    with pytest.raises(InputFaults, match=message) as caught:
        Context(Streams(0), tmp_path).read("it", "train")
    assert caught.value.faults[0].path == "train"


def test_as_many_bytes_as_the_bound_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for content in (b"", b"x", b"\0" * 3_000_000):
        path.write_bytes(content)
        assert read(path, len(content)) == content
    with pytest.raises(Unreadable, match=r"has 3000000 bytes .*; at most 2999999 bytes .* are read"):
        read(path, 2_999_999)
    with pytest.raises(Unreadable, match="No such file"):
        read(tmp_path / "nothing")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"before")
    opened = os.open

    def late(name: Path, flags: int) -> int:
        path.write_bytes(b"afterwards")
        return opened(name, flags)

    monkeypatch.setattr(files.os, "open", late)
    for reader in (read, digest):
        path.write_bytes(b"before")
        with pytest.raises(Unreadable, match="changed while it was read"):
            reader(path)


def test_a_digest_is_of_the_contents_and_a_state_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    now, seen = time.time_ns(), list[Path]()
    monkeypatch.setattr(files.time, "time_ns", lambda: now)
    opened = os.open
    monkeypatch.setattr(files.os, "open", lambda name, flags: (seen.append(name), opened(name, flags))[1])
    states = iter(range(10))

    def written(content: bytes, state: int) -> None:
        """Written an hour ago in that state, however long it took; the test's clock is the file's."""
        path.write_bytes(content)
        monkeypatch.setattr(
            files, "_version", lambda found: Version(found.st_size, 0, now - 3600 * 10**9 + state, 1, 1)
        )

    for content in (b"one", b"two"):
        written(content, next(states))
        for _ in range(2):
            assert digest(path)[0] == hashlib.sha256(content).hexdigest()
    assert len(seen) == 2, "the second time it is told from the file's state"
    monkeypatch.undo()
    fixed = Version(3, 0, time.time_ns(), 1, 1)
    monkeypatch.setattr(files, "_version", lambda found: fixed)
    for content in (b"six", b"ten"):  # within one tick of the clock
        path.write_bytes(content)
        assert digest(path)[0] == hashlib.sha256(content).hexdigest()


def test_a_context_notes_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    (tmp_path / "weights").write_bytes(b"w")
    context = Context(Streams(0), tmp_path)
    assert context.read("a.csv", "train") == context.read("a.csv", "test") == b"1,2\n"
    context.inputs.will_be_read("model/weights", tmp_path / "weights", "name")
    assert list(context.inputs.digests) == ["a.csv"]
    context.inputs.settle()
    assert context.inputs.digests == {
        "a.csv": hashlib.sha256(b"1,2\n").hexdigest(),
        "model/weights": hashlib.sha256(b"w").hexdigest(),
    }
    (tmp_path / "a.csv").write_bytes(b"3,4\n")
    with pytest.raises(InputFaults, match=r"a\.csv changed while it was read"):
        context.read("a.csv", "train")


def test_what_others_read_is_what_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"w")
    context = Context(Streams(0), tmp_path)
    context.inputs.will_be_read("weights", path, "name")
    path.write_bytes(b"other")
    with pytest.raises(InputError, match="weights changed while the run was built"):
        context.inputs.settle()
    path.unlink()
    with pytest.raises(InputError, match="weights cannot be read: No such file"):
        context.inputs.settle()
    with pytest.raises(InputFaults, match="is a folder"):
        context.inputs.will_be_read("weights", tmp_path, "name")
