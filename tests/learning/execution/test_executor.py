"""Executors: whatever the executor and the order of asking, the values are those of running each piece at once."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
from graphs import NUMBER, work
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.learning.execution.executor import EXECUTORS, Batched, Executor, TimingOnly
from elsa_sim.learning.execution.work import LOCAL, Ref, Spec, Work

#: A graph: per piece of work, which earlier outputs it reads, and how many outputs it has.
graphs = st.lists(st.tuples(st.lists(st.integers(0, 10**6), max_size=4), st.integers(1, 3)), min_size=1, max_size=25)


def play(executor: Executor, graph: list[tuple[list[int], int]], calls: Counter[int]) -> list[Ref]:
    """Finish the pieces in order; a value says which piece made it, of what."""
    refs: list[Ref] = []

    def piece(index: int, outputs: int) -> Callable[..., tuple[int, ...]]:
        def function(*inputs: int) -> tuple[int, ...]:
            calls[index] += 1
            return tuple(hash((index, output, inputs)) for output in range(outputs))

        return function

    for index, (reads, outputs) in enumerate(graph):
        inputs = [refs[i % len(refs)] for i in reads] if refs else [7]
        refs.extend(executor.finish(work(piece(index, outputs), *inputs, 3, outputs=outputs)))
    return refs


@settings(deadline=None)
@given(graphs, st.randoms(use_true_random=False))
def test_deferred_work_gives_what_eager_work_gives_and_runs_once(graph: Any, random: Any) -> None:
    eagerly, calls = Counter[int](), Counter[int]()
    expected = [ref.value for ref in play(Executor(), graph, eagerly)]
    refs = play(Batched(), graph, calls)
    assert not calls, "deferred work ran at once"
    assert not any(ref.ready for ref in refs)
    order = list(range(len(refs)))
    random.shuffle(order)
    for i in order:
        assert refs[i].value == expected[i]
        assert refs[i].ready
    assert calls == eagerly == Counter(range(len(graph)))
    assert [ref.value for ref in refs] == expected, "reading again gives the same"
    assert calls == eagerly, "reading again ran something again"


@settings(deadline=None)
@given(graphs, st.integers(0, 10**6))
def test_reading_a_value_runs_all_that_is_pending(graph: Any, pick: int) -> None:
    calls: Counter[int] = Counter()
    refs = play(Batched(), graph, calls)
    _ = refs[pick % len(refs)].value
    assert calls == Counter(range(len(graph)))


def test_what_stays_in_the_process_is_made_when_it_is_read() -> None:
    """A forward pass whose backward pass is still to come keeps waiting, and so does what follows from it."""
    executor, ran = Batched(), []

    def piece(name: str, *inputs: Any, specs: tuple[Spec, ...] = (NUMBER,)) -> tuple[Ref, ...]:
        def function(*_: Any) -> tuple[str, ...]:
            ran.append(name)
            return (name,) * len(specs)

        return executor.finish(Work("test", function, inputs, specs))

    (other,) = piece("other")
    states, saved = piece("forward", specs=(NUMBER, LOCAL))
    (after,) = piece("after", states)
    assert other.value == "other"
    assert ran == ["other"]
    (back,) = piece("backward", saved, after)
    (more,) = piece("more")
    assert more.value == "more"
    assert ran == ["other", "forward", "after", "backward", "more"]
    states, saved = piece("asked", specs=(NUMBER, LOCAL))
    assert states.value == "asked"
    assert back.ready
    assert saved.ready
    states, saved = piece("open", specs=(NUMBER, LOCAL))
    (after,) = piece("after it", states)
    assert after.value == "after it"
    assert ran[-2:] == ["open", "after it"], "what is asked for brings what it waits for"
    assert saved.ready


def test_open_work_that_nobody_can_read_is_forgotten() -> None:
    executor, ran = Batched(), []
    big = Thing()
    watched = weakref.ref(big)
    states, saved = executor.finish(Work("test", lambda _: ran.append(1) or (1, 2), (big,), (NUMBER, LOCAL)))
    (after,) = executor.finish(work(lambda x: (x,), states))
    del big, states, saved, after
    assert executor.finish(work(lambda: (3,)))[0].value == 3
    assert watched() is None
    assert not ran


def test_serial_work_runs_when_it_ends_and_timing_only_never() -> None:
    ran = []
    piece = work(lambda: ran.append(1) or (5,))
    assert Executor().finish(piece)[0].ready
    assert ran == [1]
    (ref,) = TimingOnly().finish(piece)
    assert ran == [1]
    assert not ref.ready
    assert ref.spec == NUMBER
    with pytest.raises(RuntimeError, match="timing only"):
        _ = ref.value
    after = Batched().finish(work(lambda x: (x,), ref))[0]
    with pytest.raises(RuntimeError, match="timing only"):
        _ = after.value
    assert set(EXECUTORS) == {"batched", "serial", "timing"}


def test_work_does_not_pile_up_when_nobody_reads_it() -> None:
    executor, ref, ready = Batched(), Ref.of(0, NUMBER), []
    with patch("elsa_sim.learning.execution.executor.MANY", 1000):
        for _ in range(2500):
            (ref,) = executor.finish(work(lambda x: (x + 1,), ref))
            ready.append(ref.ready)
    assert [index for index, is_ready in enumerate(ready) if is_ready] == [999, 1999]
    assert ref.value == 2500


class Thing:
    """Something that can be watched."""


def test_inputs_and_intermediate_values_are_let_go() -> None:
    executor, watched = Batched(), []

    def make(*_: Any) -> tuple[Thing]:
        alive = [ref for ref in watched if ref() is not None]
        assert len(alive) <= 2, "a chain keeps more than the value it reads"
        thing = Thing()
        watched.append(weakref.ref(thing))
        return (thing,)

    first = Thing()
    watched.append(weakref.ref(first))
    (ref,) = executor.finish(work(make, Ref.of(first, None)))
    del first
    for _ in range(20):
        (ref,) = executor.finish(work(make, ref))
    assert watched[0]() is not None, "pending work keeps its inputs"
    last = ref.value
    assert [item() for item in watched] == [None] * 21 + [last]


def test_side_outputs_die_with_their_handles() -> None:
    executor = Batched()
    kept, side = executor.finish(work(lambda: (1, Thing()), outputs=2))
    assert kept.value == 1
    watched = weakref.ref(side.value)
    del side
    assert watched() is None


def test_a_failure_is_raised_again_and_spoils_nothing_else() -> None:
    executor, calls, broken = Batched(), [], [True]

    def fragile(x: int) -> tuple[int]:
        calls.append("fragile")
        if broken:
            raise ZeroDivisionError("on purpose")
        return (x + 1,)

    (source,) = executor.finish(work(lambda: calls.append("source") or (1,)))
    (bad,) = executor.finish(work(fragile, source))
    (good,) = executor.finish(work(lambda x: (x * 10,), source))
    (end,) = executor.finish(work(lambda x, y: (x + y,), bad, good))
    for ref in (end, bad, end):
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            _ = ref.value
        assert not ref.ready
    assert calls.count("source") == 1, "what had run ran again"
    broken.clear()
    assert good.value == 10
    assert end.value == 12


def test_arithmetic_time_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves on by a second whenever it is looked at."""
    monkeypatch.setattr("elsa_sim.learning.execution.executor.time.perf_counter", count(10).__next__)
    executor = Executor()
    assert executor.math_s == 0.0
    executor.finish(work(lambda: (1,)))
    assert executor.math_s == 1.0
    with pytest.raises(ZeroDivisionError):
        executor.time(lambda: 1 / 0)
    assert executor.math_s == 2.0
    executor.time(lambda: executor.time(lambda: None))
    assert executor.math_s == 4.0, "from the begin of the outer one to its end, with one look at the clock between"
