"""Files that are whole or not there, and what the operating system says when they cannot be."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DiskFull, ElsaError, InputError

#: What follows the name of a file or folder until it is whole.
PARTIAL = ".partial"
#: The disk, not the path: nothing the user wrote is wrong.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
#: Characters of a path that a message shows, at most.
SHOWN = 160


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a file that takes the place of ``path`` once it is written: a reader sees the old one or the new one.

    What fails leaves ``path`` as it was, and nothing beside it.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def synchronise(folder: Path) -> None:
    """Have the disk hold everything in ``folder``, its names included, so that a power cut cannot undo it."""
    for place, _, names in os.walk(folder):
        for each in (*(os.path.join(place, name) for name in names), place):
            if not os.path.islink(each) and (os.path.isfile(each) or each == place):
                _synchronise(each)


def synchronise_names(folder: Path) -> None:
    """Have the disk hold the names of what is in ``folder``."""
    _synchronise(folder)


def _synchronise(path: str | Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:  # file systems that cannot do that for folders say so
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(number)


def shown(path: object) -> str:
    """A path as a message shows it: one line, and its ends only if it is very long."""
    text = str(path).encode("unicode_escape").decode() if not str(path).isprintable() else str(path)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}...{text[-SHOWN // 4 :]}"


def refused(error: OSError, what: str = "") -> ElsaError:
    """What the operating system's refusal means: a path that cannot be is bad input, a disk that is full fails the run.

    ``what`` begins the message; by default the file that ``error`` names.
    """
    reason = error.strerror or str(error).strip().partition("\n")[0]
    begin = what or (shown(error.filename) if error.filename is not None else "")
    told = f"{begin}: {reason}" if begin else reason
    return DiskFull(told) if is_full(error) else InputError(told)


def is_full(error: BaseException) -> bool:
    """Whether ``error`` says that the disk is full or broken."""
    if not isinstance(error, OSError):
        return False
    number = error.errno
    if number is None:  # of a library that keeps the text only
        return any(os.strerror(each) in str(error) for each in _FULL)
    return number in _FULL
