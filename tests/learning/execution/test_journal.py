"""The journal: handles by number, readings in order, and a replay that comes to where a snapshot was taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from elsa_sim.learning.execution.executor import Batched, Executor
from elsa_sim.learning.execution.journal import Journal, OtherRun
from elsa_sim.learning.execution.work import LOCAL, Ref, TensorSpec, Work

NUMBER = TensorSpec((1,))


def work(function: Callable[..., Any], *inputs: Any, outputs: tuple[Any, ...] = (NUMBER,)) -> Work:
    return Work("work", function, inputs, outputs)


def twice(x: int) -> tuple[int]:
    return (2 * x,)


class Program:
    """Two values that live on, one that does not, one that is pending, and a reading between them; then more of it."""

    def __init__(self, executor: Executor) -> None:
        self.executor, self.calls = executor, list[int]()
        self.parts = self.run()

    def count(self, x: int) -> tuple[int]:
        self.calls.append(x)
        return (x + 1,)

    def run(self) -> Iterator[None]:
        finish, read = self.executor.finish, self.executor.read
        (self.kept,) = finish(work(self.count, 1))
        other = finish(work(self.count, 10))
        self.known = read("both", lambda: self.kept.value + other[0].value)
        (self.derived,) = finish(work(twice, *other))
        other = ()
        read("derived", lambda: self.derived.value)
        (self.pending,) = finish(work(self.count, self.derived))
        yield
        (self.last,) = finish(work(self.count, self.pending))
        yield

    def play(self) -> None:
        next(self.parts)


def resumed(recorded: Journal, kind: type[Executor], *, of: Program) -> Program:
    snapshot = recorded.snapshot(of.executor.pending)
    journal = Journal(snapshot, recorded.taken())
    program = Program(kind(journal))
    assert not program.executor.live
    program.play()
    assert program.calls == []
    program.executor.take_up(journal.resume())
    assert program.executor.live
    return program


@pytest.mark.parametrize("kind", [Executor, Batched])
def test_a_replay_computes_nothing_before_and_everything_after(kind: type[Executor]) -> None:
    journal = Journal()
    whole = Program(kind(journal))
    whole.play()
    again = resumed(journal, kind, of=whole)
    assert again.known == whole.known == 13
    for each in (whole, again):
        each.play()
        assert each.last.value == 24
    assert again.calls == ([22, 23] if kind is Batched else [23])
    assert (again.kept.value, again.derived.value) == (2, 22)


def test_what_nobody_holds_is_not_in_a_snapshot() -> None:
    journal = Journal()
    whole = Program(Executor(journal))
    whole.play()
    snapshot = journal.snapshot(())
    assert [value() for value in snapshot.values.values()] == [2, 22, 23]
    assert snapshot.made == 4
    assert snapshot.pending == []


def test_a_value_that_is_not_there_says_why() -> None:
    journal = Journal()
    whole = Program(Executor(journal))
    whole.play()
    again = Journal(journal.snapshot(()), journal.taken())
    (ref,) = Executor(again).finish(work(lambda: (1,)))
    assert ref.ready  # it lives on
    (other,) = Executor(again).finish(work(lambda: (1,)))
    with pytest.raises(RuntimeError, match=r"World\.read"):
        _ = other.value


def test_another_run_is_refused() -> None:
    journal = Journal()
    whole = Program(Executor(journal))
    whole.play()
    snapshot, readings = journal.snapshot(()), journal.taken()
    other = Executor(Journal(snapshot, readings))
    with pytest.raises(OtherRun, match="reading 1 was both, and is neither now"):
        other.read("neither", lambda: 0)
    longer = Journal(snapshot, readings)
    executor = Executor(longer)
    for _ in range(5):
        executor.finish(work(lambda: (1,)))
    with pytest.raises(OtherRun, match="5 values and 0 readings instead of 4 and 2"):
        longer.resume()
    with pytest.raises(OtherRun, match="reading 1"):
        Executor(Journal(snapshot, [])).read("both", lambda: 0)


def test_what_instruments_make_has_no_number() -> None:
    journal = Journal()
    executor = Executor(journal)
    executor.read("test", lambda: executor.finish(work(lambda: (1,)))[0].value)
    assert journal.made == 0
    executor.finish(work(lambda: (1,)))
    assert journal.made == 1


def test_a_reading_within_a_reading_is_part_of_it() -> None:
    journal = Journal()
    executor = Executor(journal)
    assert executor.read("sum", lambda: 1 + (executor.read("one", lambda: 2) or 0)) == 3
    snapshot, readings = journal.snapshot(()), journal.taken()
    assert readings == [("sum", 3)]
    assert snapshot.read == 1
    again = Executor(Journal(snapshot, readings))
    assert again.read("sum", lambda: 0) == 3


@pytest.mark.parametrize("kind", [Executor, Batched])
def test_local_values_are_computed_again_with_what_was_computed_with_them(kind: type[Executor]) -> None:
    """Their inputs are kept for that, as long as they are."""

    def play(executor: Executor, calls: list[int]) -> tuple[Ref, Ref]:
        def forward(x: int) -> tuple[int, object]:
            calls.append(x)
            return x + 1, ("kept", x)

        (x,) = executor.finish(work(twice, 3))
        h, saved = executor.finish(work(forward, x, outputs=(NUMBER, LOCAL)))
        executor.read("h", lambda: h.value)
        return h, saved

    journal, calls, again = Journal(), list[int](), list[int]()
    executor = kind(journal)
    h, saved = play(executor, calls)
    snapshot = journal.snapshot(executor.pending)
    assert [list(group) for group in snapshot.again] == [[1]]
    other = Journal(snapshot, journal.taken())
    executor = kind(other)
    h2, saved2 = play(executor, again)
    assert again == []
    executor.take_up(other.resume())
    assert again == calls == [6]
    assert (h2.value, saved2.value) == (h.value, saved.value) == (7, ("kept", 6))
    del saved, saved2
    assert journal.snapshot(()).again == other.snapshot(()).again == []
