"""Processes that end with the one that started them, however that ended."""

from __future__ import annotations

import os
import threading
import time

#: How often a process looks whether its parent is there (s).
EVERY = 0.5
_NAME = "watches the parent"


def end_with(parent: int) -> None:
    """Have this process end soon after ``parent`` (a process id) has, even in the middle of a computation.

    A process that ``parent`` did not start itself is left alone.
    """
    if os.getppid() == parent and all(thread.name != _NAME for thread in threading.enumerate()):
        threading.Thread(target=_watch, args=(parent,), daemon=True, name=_NAME).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY)
    os._exit(1)
