"""When the memory of this machine runs out: told apart from a program's mistake, and said with what would help.

A simulated device whose memory is too small is a fault of the scenario, found before anything runs (:mod:`.memory`).
"""

from __future__ import annotations

import errno

from ..base.errors import OutOfMemory

#: What libraries say in exceptions that are no :class:`MemoryError`: PyTorch on CPU and GPU, C++, CUDA.
_SAID = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",
)
_HELP = "a smaller task.batch_size, task.max_length or backbone, or execution.mode: timing (no arithmetic)"


def exhausted(error: BaseException, now: float | None = None) -> OutOfMemory | None:
    """The failure that ``error`` means, raised at simulated time ``now`` (s); ``None`` if it is about anything else.

    What is returned holds no traceback, so the memory of what failed can be had again.
    """
    said = str(error).strip().partition("\n")[0][:200]
    known = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if not known and not (isinstance(error, RuntimeError) and any(text in said.lower() for text in _SAID)):
        return None
    gpu = "cuda" in said.lower()
    what, more = ("GPU", "execution.device: cpu") if gpu else ("host", "fewer execution.workers")
    when = "" if now is None else f" at {now:g} s"
    return OutOfMemory(f"{what} memory ran out{when}{f' ({said})' if said else ''}; what helps: {more}, {_HELP}")
