"""SIGTERM and Ctrl-C end a command in the same way, once, and leave the signals as they were."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from elsa_sim.cli import commands
from elsa_sim.cli.interrupts import interruptible

BOTH = (signal.SIGINT, signal.SIGTERM)


def interrupted(number: signal.Signals) -> None:
    with interruptible():
        try:
            os.kill(os.getpid(), number)
        finally:
            for each in BOTH:
                os.kill(os.getpid(), each)  # a second one changes nothing


def test_one_that_was_lost_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that a library swallows, say."""
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        monkeypatch.setattr("elsa_sim.cli.interrupts.SOON", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_one_that_python_drops_is_raised_again(capsys: pytest.CaptureFixture[str]) -> None:
    """In a callback of the garbage collection; nothing is printed of it."""

    class Dropped:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            _ = 0  # where the handler runs

    hook = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), interruptible():
        _drop_and_wait(Dropped)
    assert sys.unraisablehook is hook
    assert capsys.readouterr().err == ""


def _drop_and_wait(kind: type) -> None:
    kind()
    time.sleep(30)


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_signal_is_an_interrupt_once(number: signal.Signals, before: signal.Handlers) -> None:
    kept = {each: signal.signal(each, before) for each in BOTH}
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted(number)
        assert [signal.getsignal(each) for each in BOTH] == [before] * 2
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)


def test_one_outside_a_command_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it has begun, or when it has ended."""

    def early() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "app", early)
    with pytest.raises(SystemExit) as end:
        commands.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "elsa-sim: interrupted\n"
