"""What a section of a scenario may use while it is built: its files, a list of what was read, and the random streams."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from . import files
from .errors import Fault, InputError, InputFaults
from .files import MOST_BYTES, Unreadable, Version
from .streams import Streams

DATA_VARIABLE = "ELSA_SIM_DATA"


class Inputs:
    """The files that a run reads, under the names that the scenario gives them, with the SHA-256 of their contents."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self._left: dict[str, tuple[Path, Version]] = {}

    def was_read(self, name: str, data: bytes, key: str) -> None:
        """``data`` is what the file ``name`` holds.

        Raises:
            InputFaults: (at ``key``) it held something else when it was read before.
        """
        made = files.sha256(data)
        if self._digests.setdefault(name, made) != made:
            raise InputFaults([Fault(key, f"{name} changed while it was read")])

    def will_be_read(self, name: str, path: Path, key: str) -> None:
        """Another library will read ``path``, or has just done so; its digest is taken by :meth:`settle`.

        Raises:
            InputFaults: (at ``key``) it is no regular file.
        """
        try:
            self._left[name] = (path, files.version(path))
        except (Unreadable, OSError, ValueError) as error:
            why = error if isinstance(error, Unreadable) else f"cannot be read: {error}"
            raise InputFaults([Fault(key, f"{path} {why}")]) from None

    def settle(self) -> None:
        """Take the digests of what other libraries have read.

        Raises:
            InputError: there are files that are not what they were when they were checked.
        """
        said = []
        for name, (path, before) in self._left.items():
            try:
                made, after = files.digest(path)
                if after != before or self._digests.setdefault(name, made) != made:
                    raise Unreadable("changed while the run was built")
            except Unreadable as why:
                said.append(f"{path} {why}")
        if said:
            raise InputError("; ".join(said))
        self._left.clear()

    @property
    def digests(self) -> dict[str, str]:
        """Name -> SHA-256, by name."""
        return dict(sorted(self._digests.items()))


@dataclass(frozen=True)
class Context:
    """Where relative paths start, the run's random streams, and a list of what was read."""

    streams: Streams
    folder: Path = Path()
    inputs: Inputs = field(default_factory=Inputs, compare=False)

    @property
    def digests(self) -> dict[str, str]:
        """Absolute path, or name if it is of the hub or a package, of each file that was read -> SHA-256, by name."""
        return dict(sorted((self._absolute(name), digest) for name, digest in self.inputs.digests.items()))

    def _absolute(self, name: str) -> str:
        try:
            return str(self.file(name, ""))
        except InputFaults:
            return name

    def file(self, path: str, key: str) -> Path:
        """The existing regular file ``path``: absolute, relative to the scenario file, or to ``$ELSA_SIM_DATA``.

        Raises:
            InputFaults: there is no such file; the fault is at ``key`` and names the places looked at. Or it is a
                folder, a pipe, a device, or one of the system's own under ``/proc`` or ``/sys``.
        """
        roots = [self.folder, *([Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else [])]
        places = list(dict.fromkeys(root / path for root in roots))  # an absolute path is one place
        special = []
        for place in places:
            try:
                files.version(place)
                return place.resolve()
            except Unreadable as why:
                special.append(f"{path!r} {why}")
            except (OSError, ValueError):
                continue  # a name no file system takes
        if special:
            raise InputFaults([Fault(key, special[0])])
        looked = ", ".join(str(place) for place in places)
        hint = "" if len(roots) > 1 else f" (${DATA_VARIABLE} is not set)"
        raise InputFaults([Fault(key, f"no such file {path!r}; looked at {looked}{hint}")])

    def read(self, path: str, key: str, most: int = MOST_BYTES) -> bytes:
        """The bytes of the file ``path`` (see :meth:`file`), at most ``most``; its digest is noted in ``inputs``.

        Raises:
            InputFaults: (at ``key``) there is no such file, it is no regular one, it is longer, or cannot be read.
        """
        place = self.file(path, key)
        try:
            data = files.read(place, most)
        except Unreadable as why:
            raise InputFaults([Fault(key, f"{path} {why}")]) from None
        self.inputs.was_read(path, data, key)
        return data
