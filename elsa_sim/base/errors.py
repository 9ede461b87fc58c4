"""Every exception that elsa-sim raises on purpose.

::

    ElsaError
    ├── InputError             bad input; exit status 2
    │   ├── InputFaults        several faults of one section, found while it is built
    │   └── ScenarioError      a scenario with its list of faults
    └── RunFailed              the run failed; exit status 3
        ├── InvariantViolation an invariant of the simulation does not hold
        ├── Divergence         a loss or an adapter is no longer finite
        ├── OutOfMemory        the memory of this machine ran out
        ├── DiskFull           a disk of this machine is full
        └── Lost               a message or work was lost, and the protocol does not make up for it
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class ElsaError(Exception):
    """Base of all exceptions of this package."""


class InputError(ElsaError):
    """Something the user wrote cannot be used; the message says what, where, and what would be right."""


@dataclass(frozen=True)
class Fault:
    """One fault of a scenario: where it is and what would be right.

    ``path`` is the key path (``protocol.rounds``), ``line`` the 1-based line of the file (``None`` when the
    value does not come from the file), ``message`` what is wrong and what is valid.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class InputFaults(InputError):
    """Several faults of one section; their paths are relative to it (``""`` for the section as a whole)."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class ScenarioError(InputError):
    """A scenario file has faults; all of them are listed."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__("\n".join([f"{source}: {len(self.faults)} {noun}", *(f"  {f}" for f in self.faults)]))


class RunFailed(ElsaError):
    """A run could not be completed or its result cannot be trusted."""


class InvariantViolation(RunFailed):
    """An invariant does not hold after a run; the message names it."""


class Divergence(RunFailed):
    """A loss or a parameter is not finite any more."""


class OutOfMemory(RunFailed):
    """The memory of this machine ran out, on the host, in a worker or on a GPU.

    That a part does not fit the memory of a simulated device is a fault of the scenario, found before the run.
    """


class DiskFull(RunFailed):
    """A disk of this machine is full or broken, or a file would be larger than it may be."""


class Lost(RunFailed):
    """A message was given up, or a device went away with its work; a protocol may go on without it."""


def unexpected(error: BaseException) -> str:
    """An exception that nobody raised on purpose, in one line: what it is, and the file and line that it comes from."""
    origin = error
    while type(origin.__cause__) is type(error):  # SimPy raises a copy, whose cause is the one that was raised
        origin = origin.__cause__
    frames = traceback.extract_tb(origin.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}{where}" if said else f"{type(error).__name__}{where}"


def portable(error: Exception) -> bytes:
    """An exception, pickled, to be raised in another process; one that cannot be built again is told as a ``RuntimeError``."""
    import cloudpickle

    try:
        pickle.loads(found := cloudpickle.dumps(error))
    except Exception:  # an exception that cannot be built again from its arguments
        return cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]
