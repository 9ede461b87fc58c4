"""Signals wait while the shield is up, act while it is lowered, and find their handlers as they were."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from elsa_sim.base.interrupts import SIGNALS, Shield


@pytest.fixture(params=SIGNALS)
def number(request: pytest.FixtureRequest) -> signal.Signals:
    """A signal whose handler raises."""
    kept = signal.signal(request.param, signal.default_int_handler)
    yield request.param  # type: ignore[misc]
    signal.signal(request.param, kept)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def sent_under_it(number: int, done: list[str], failure: Exception | None = None) -> None:
    with Shield():
        send(number)
        send(number)
        done.append("written")
        if failure is not None:
            raise failure


def test_what_comes_while_it_is_up_acts_at_its_end(number: signal.Signals) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        sent_under_it(number, done)
    assert done == ["written"]
    assert signal.getsignal(number) is signal.default_int_handler


def test_what_comes_while_it_is_lowered_acts_at_once(number: signal.Signals) -> None:
    done = []
    with Shield() as shield:
        try:
            with shield.lowered():
                send(number)
                done.append("not reached")
        except KeyboardInterrupt:
            done.append("interrupted")
        send(number)  # a second one, while that is written
        done.append("written")
        with pytest.raises(KeyboardInterrupt), shield.lowered():
            done.append("not reached")
    assert done == ["interrupted", "written"]


def test_an_interrupt_takes_no_failure_away(number: signal.Signals) -> None:
    with pytest.raises(ValueError, match="first"):
        sent_under_it(number, [], ValueError("first"))


def test_what_was_ignored_or_left_to_the_system_stays_so() -> None:
    kept = [signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    try:
        with Shield():
            assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_IGN, signal.SIG_DFL]
    finally:
        for each, handler in zip(SIGNALS, kept, strict=True):
            signal.signal(each, handler)


def test_in_another_thread_it_does_nothing() -> None:
    done = []

    def work() -> None:
        with Shield() as shield, shield.lowered():
            done.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["done"]
