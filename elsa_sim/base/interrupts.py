"""Interrupts that come at an inconvenient time wait: what has begun to be written is written to its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Shield:
    """While it is up, an interrupt is kept for later; where it is :meth:`lowered`, it acts at once, as before.

    What was kept acts when the shield is lowered next, or at its end. Signals that are left to the operating system or
    ignored stay so, and in other threads than the main one, which gets all signals, it does nothing.
    """

    def __init__(self) -> None:
        self._lowered = False
        self._before: dict[int, Any] = {}
        self._kept: int | None = None

    def __enter__(self) -> Shield:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if callable(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None:
            self._act()

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self._lowered:
            self._before[number](number, frame)
        else:
            self._kept = number

    def _act(self) -> None:
        number, self._kept = self._kept, None
        if number is not None:
            self._before[number](number, None)

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """Within, interrupts act at once."""
        try:
            self._lowered = True
            self._act()
            yield
        finally:
            self._lowered = False
