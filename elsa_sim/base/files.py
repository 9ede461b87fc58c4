"""Files of the user: what may be read, how much of it, and a digest of what was read.

Only regular files are read, and never more of one than its length says: a pipe, a device or a file of the kernel's
(``/proc/kmsg`` says it has no bytes) would block, or never end. Does not model: remote files, compressed ones.

Tested in tests/base/test_files.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .units import format_bytes

#: The most bytes that are read of a file where a reader states no other bound.
MOST_BYTES = 2 * 2**30
_CHUNK = 2**20
_KERNEL = ("/proc", "/sys")
#: A file that was written less than this ago (ns) may be written again within the clock's tick.
_FRESH = 2_000_000_000
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
          (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))  # fmt: skip


class Unreadable(Exception):
    """Why a file is not read; the message continues a sentence that begins with the file's name."""


class Version(NamedTuple):
    """What tells one state of a file from another without reading it."""

    size: int
    written: int
    changed: int
    inode: int
    device: int


def version(path: Path) -> Version:
    """The present state of a regular file.

    Raises:
        Unreadable: it is no regular file, or one whose length the system does not know.
        OSError: it is not there, or its folder cannot be looked into.
        ValueError: no file has such a name.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "no file")
        raise Unreadable(f"is {kind}; a regular file is needed")
    if any(path.resolve().is_relative_to(folder) for folder in _KERNEL):
        raise Unreadable("is made by the system while it is read, and may never end; copy it to a regular file")
    return _version(found)


def _version(found: os.stat_result) -> Version:
    return Version(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes.

    Raises:
        Unreadable: it is no regular file, longer than that, cannot be opened, or changed while it was read.
    """
    try:
        before = version(path)
        if before.size > most:
            raise Unreadable(f"has {_bytes(before.size)}; at most {_bytes(most)} are read")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            chunks, left = [], before.size + 1
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                chunks.append(chunk)
                left -= len(chunk)
            after = _version(os.fstat(file.fileno()))
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if after != before or left != 1:
        raise Unreadable(
            "changed while it was read, or its length is not known; try again with one that stays as it is"
        )
    return b"".join(chunks)


def _bytes(count: int) -> str:
    return f"{count} bytes ({format_bytes(count)})"


def sha256(data: bytes) -> str:
    """The digest of what was read."""
    return hashlib.sha256(data).hexdigest()


def digest(path: Path) -> tuple[str, Version]:
    """SHA-256 of a regular file of any length, and the state that has it; a state is read once in a process.

    Raises:
        Unreadable: it is no regular file, cannot be opened, or changed while it was read.
    """
    try:
        state = version(path)
        fresh = time.time_ns() - state.changed < _FRESH
        return (_digest.__wrapped__ if fresh else _digest)(path.resolve(), state), state
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


@lru_cache(maxsize=4096)
def _digest(path: Path, state: Version) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        made = hashlib.file_digest(file, "sha256").hexdigest()
        if _version(os.fstat(file.fileno())) != state:
            raise Unreadable("changed while it was read; try again with one that stays as it is")
    return made
