"""How a command is interrupted."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..base.interrupts import SIGNALS

#: A signal so soon (s) after another changes nothing: the first must not be cut off while it is heeded.
SOON = 2.0
#: After this time (s) an interrupt that Python dropped is tried again.
AGAIN = 0.02


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, and Ctrl-C does so even where the shell had switched it off.

    Python drops what is raised in callbacks of the garbage collection, with a traceback: an interrupt is raised again then.
    """
    last, active, hook = -math.inf, True, sys.unraisablehook

    def interrupt(*_: Any) -> None:
        nonlocal last
        now = time.monotonic()
        soon, last = now - last < SOON, now
        if not soon:
            raise KeyboardInterrupt

    def dropped(what: Any) -> None:
        nonlocal last
        if what.exc_type is not KeyboardInterrupt:
            hook(what)
            return
        last = -math.inf
        threading.Timer(AGAIN, again).start()

    def again() -> None:
        if active:
            os.kill(os.getpid(), signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        active, sys.unraisablehook = False, hook
        for number, handler in before.items():
            signal.signal(number, handler)
