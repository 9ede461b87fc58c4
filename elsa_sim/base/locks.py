"""Locks on files that end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path


class Held(Exception):
    """Another process holds the lock; the message is what it wrote there (its process id), perhaps nothing."""


class Lock:
    """A lock on the file ``path``, which is made if need be. On a file system without locks it keeps nobody out.

    Raises:
        Held: another process holds it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        while True:
            self._number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                    said = os.pread(self._number, 20, 0).decode("ascii", "replace").strip()
                    os.close(self._number)
                    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                        raise Held(said if said.isdecimal() else "") from None
                    raise
            if self._is_there():
                break
            os.close(self._number)  # whoever held it has given the folder another name meanwhile
        os.ftruncate(self._number, 0)
        os.pwrite(self._number, f"{os.getpid()}\n".encode(), 0)

    def _is_there(self) -> bool:
        """Whether the file that is locked is the one that has the name."""
        try:
            return os.path.samestat(os.fstat(self._number), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others have it."""
        os.close(self._number)
