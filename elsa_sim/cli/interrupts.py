"""How a command is interrupted."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..base.interrupts import SIGNALS

#: A signal so soon (s) after another changes nothing: the first must not be cut off while it is heeded.
SOON = 2.0


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does, and Ctrl-C does so even where the shell had switched it off."""
    last = -math.inf

    def interrupt(*_: Any) -> None:
        nonlocal last
        now = time.monotonic()
        soon, last = now - last < SOON, now
        if not soon:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
