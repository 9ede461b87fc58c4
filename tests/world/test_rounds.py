"""Who takes part in a round: timelines by hand, of tasks that take a stated time on devices that come and go."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from elsa_sim.base.errors import Lost, RunFailed
from elsa_sim.base.streams import Streams
from elsa_sim.devices import Crash, Device, DeviceOptions, OnOff
from elsa_sim.devices.downtime import Downtime
from elsa_sim.learning.execution.work import Work
from elsa_sim.world.rounds import WaitOptions, retry, run_round, wait_until_online
from elsa_sim.world.world import World

ALL = WaitOptions()
Missing = tuple[str, float, float, str]


class Stage:
    """What gather sees of a world: devices, a clock, and a list of who was missing (who, since, at, why)."""

    spawn = World.spawn

    def __init__(self, **downtimes: Downtime | None) -> None:
        self.env = simpy.Environment()
        self.devices = {
            name: Device(self.env, name, DeviceOptions(speed=1.0, memory=1.0, downtimes=(d,) if d else ()), Streams(0))
            for name, d in {"server": None, "somebody": None, **downtimes}.items()
        }
        self.clients = [SimpleNamespace(name="somebody")]
        self.absent: list[Missing] = []
        self.begun: dict[str, float] = {}
        self.ended: list[tuple[str, float]] = []

    @property
    def now(self) -> float:
        return float(self.env.now)

    def missing(self, who: str, since_s: float, reason: str, *, round: int) -> None:
        self.absent.append((who, since_s, self.now, reason))

    def task(self, name: str, seconds: float, fails: bool = False) -> Callable[[], Generator[Any, Any, str]]:
        """Takes this long, then gives its own name, or loses a message."""

        def run() -> Generator[Any, Any, str]:
            self.begun[name] = self.now
            yield self.env.timeout(seconds)
            if fails:
                raise Lost("the message was given up")
            self.ended.append((name, self.now))
            return name.upper()

        return run

    def play(self, process: Generator[Any, Any, Any]) -> Any:
        """The value of a process."""
        return self.env.run(self.env.process(process))

    def wait(self, seconds: float) -> Generator[Any, Any, None]:
        """Let time pass."""
        yield self.env.timeout(seconds)

    def round(self, wait: WaitOptions = ALL, at: str = "server", **seconds: float) -> tuple[dict[str, Any], float]:
        """One round of tasks of these lengths (negative: it fails then); who arrived, and when the round closed."""
        tasks = {name: self.task(name, abs(s), s < 0) for name, s in seconds.items()}
        return self.play(self._round(tasks, wait, at))  # type: ignore[no-any-return]

    def _round(self, tasks: Mapping[str, Any], wait: WaitOptions, at: str) -> Generator[Any, Any, Any]:
        arrived = yield from run_round(self, tasks, wait, round=1, at=at)  # type: ignore[arg-type]
        return arrived, self.now


def test_all() -> None:
    stage = Stage(a=None, b=None, c=None)
    assert stage.round(a=3, b=1, c=2) == ({"a": "A", "b": "B", "c": "C"}, 3)
    assert list(stage.round(c=2, a=3)[0]) == ["c", "a"]  # in the order of the tasks, not of their arrival
    assert stage.absent == []


def test_nobody_was_asked() -> None:
    assert Stage().round() == ({}, 0)


def test_the_first_two() -> None:
    stage = Stage(a=None, b=None, c=None)
    assert stage.round(WaitOptions(first=2), a=3, b=1, c=2) == ({"b": "B", "c": "C"}, 2)
    assert stage.absent == [("a", 0, 2, "the round closed: the first 2 had arrived")]
    assert stage.ended == [("b", 1), ("c", 2)]  # a was stopped


def test_the_first_of_several_at_one_instant() -> None:
    stage = Stage(a=None, b=None, c=None)
    assert stage.round(WaitOptions(first=1), a=2, b=2, c=2) == ({"a": "A"}, 2)
    assert [(who, at) for who, _, at, _ in stage.absent] == [("b", 2), ("c", 2)]


def test_the_first_m_when_fewer_are_left() -> None:
    stage = Stage(a=None, b=Crash(at=1), c=None)
    assert stage.round(WaitOptions(first=3), a=3, b=4, c=2) == ({"a": "A", "c": "C"}, 3)
    assert stage.absent == [("b", 0, 1, "b went away")]


def test_a_deadline() -> None:
    stage = Stage(a=None, b=None, c=None)
    assert stage.round(WaitOptions(deadline=2), a=3, b=1, c=2) == ({"b": "B"}, 2)  # arriving at the deadline is late
    why = "the round closed: the deadline of 2 s had passed"
    assert sorted(stage.absent) == [("a", 0, 2, why), ("c", 0, 2, why)]
    assert stage.round(WaitOptions(deadline=9), a=3, b=1) == ({"a": "A", "b": "B"}, 5)  # ends when all are there


def test_nobody_will_ever_come_back() -> None:
    """One server may go on without its clients until its deadline, but not a world that has no client left."""
    stage = Stage(a=Crash(at=1), b=Crash(at=2))
    stage.clients = [SimpleNamespace(name="a"), SimpleNamespace(name="b")]
    assert stage.round(WaitOptions(deadline=3), a=5, b=5) == ({}, 2)
    with pytest.raises(
        RunFailed, match=r"at 2 s, all clients are gone for good: a, b; nothing is left to train in round 1"
    ):
        stage.round(WaitOptions(deadline=3), a=5, b=5)
    back = Stage(a=Crash(at=1), b=Crash(at=2, duration=4))
    back.clients = stage.clients
    assert back.round(WaitOptions(deadline=3), a=5, b=5) == ({}, 2)
    assert back.round(WaitOptions(deadline=3), a=5, b=5) == ({}, 5)


def test_a_deadline_too_short_for_anyone() -> None:
    stage = Stage(a=None, b=None)
    assert stage.round(WaitOptions(deadline=0.5), a=3, b=1) == ({}, 0.5)
    assert len(stage.absent) == 2


def test_first_or_deadline_whichever_comes_first() -> None:
    assert Stage(a=None, b=None).round(WaitOptions(first=1, deadline=2), a=1, b=3)[1] == 1
    assert Stage(a=None, b=None).round(WaitOptions(first=2, deadline=2), a=1, b=3) == ({"a": "A"}, 2)


def test_a_crash_in_the_middle_and_back_for_the_next_round() -> None:
    stage = Stage(a=None, b=Crash(at=1, duration=1))
    assert stage.round(a=3, b=2) == ({"a": "A"}, 3)
    assert stage.absent == [("b", 0, 1, "b went away")]
    assert stage.round(a=3, b=2) == ({"a": "A", "b": "B"}, 6)


def test_a_message_given_up() -> None:
    stage = Stage(a=None, b=None)
    assert stage.round(a=3, b=-4) == ({"a": "A"}, 4)
    assert stage.absent == [("b", 0, 4, "the message was given up")]
    assert stage.round(a=-1, b=-2) == ({}, 6)  # all of them: nobody arrived


def test_away_at_the_beginning() -> None:
    stage = Stage(a=None, b=Crash(at=0, duration=2))
    assert stage.round(a=3, b=1) == ({"a": "A"}, 3)
    assert stage.absent == [("b", 0, 0, "away when the round began")]


def test_all_away_at_the_beginning() -> None:
    """The round begins when the first is back."""
    stage = Stage(a=Crash(at=0, duration=5), b=Crash(at=0, duration=7))
    assert stage.round(a=1, b=1) == ({"a": "A"}, 6)
    assert stage.absent == [("b", 5, 5, "away when the round began")]


def test_all_away_until_the_deadline() -> None:
    """The deadline runs, and the server goes on without them."""
    stage = Stage(a=Crash(at=0, duration=5), b=Crash(at=0))
    assert stage.round(WaitOptions(deadline=2), a=1, b=1) == ({}, 2)
    assert stage.absent == [(name, 0, 2, "away when the round began") for name in "ab"]
    assert stage.round(WaitOptions(deadline=5), a=1, b=1) == ({"a": "A"}, 6)  # a has from 5 to 7
    assert stage.round(WaitOptions(deadline=1), b=1) == ({}, 7)  # gone for good, but who can know
    late = Stage(a=Crash(at=0, duration=5))
    assert late.round(WaitOptions(deadline=6), a=2) == ({}, 6)


def test_a_server_that_goes_away_while_nobody_is_there() -> None:
    """Its deadline begins anew when it is back."""
    stage = Stage(server=Crash(at=1, duration=2), a=Crash(at=0, duration=4))
    assert stage.round(WaitOptions(deadline=2), a=0.5) == ({"a": "A"}, 4.5)
    stage = Stage(server=Crash(at=1, duration=2), a=Crash(at=0, duration=8))
    assert stage.round(WaitOptions(deadline=2), a=0.5) == ({}, 5)
    assert stage.absent == [("a", 3, 5, "away when the round began")]


def test_times_that_no_float_adds_up_to() -> None:
    """0.1 + 0.2 is not 0.3: who waits for a device must not look an instant too early."""
    for k in range(1, 200):
        end = 0.1 * k + 0.7
        stage = Stage(a=Crash(at=0.0, duration=end))
        stage.play(stage.wait(1 / (3 * k)))
        assert stage.round(a=1)[0] == {"a": "A"}
        stage = Stage(server=Crash(at=end, duration=1), a=None)
        stage.play(stage.wait(1 / (3 * k)))
        arrived, closed = stage.round(a=1e6)
        assert arrived == {}
        assert closed >= end + 1  # it was lost once, not again because the server seemed to be there still


def test_all_gone_for_good() -> None:
    stage = Stage(a=Crash(at=1), b=Crash(at=2))
    assert stage.round(a=5, b=5) == ({}, 2)
    with pytest.raises(Lost, match=r"at 2 s, all who could go on are gone for good: a, b"):
        stage.round(a=5, b=5)


def test_many_gone_for_good_are_not_all_listed() -> None:
    names = {f"n{i}": Crash(at=0) for i in range(8)}
    with pytest.raises(Lost, match=r": n0, n1, n2, n3, n4 and 3 more$"):
        Stage(**names).round(**dict.fromkeys(names, 1.0))


def test_a_server_that_goes_away_loses_the_round() -> None:
    """Also what had arrived; it ends when the server is back."""
    stage = Stage(server=Crash(at=2, duration=5), a=None, b=None)
    assert stage.round(a=1, b=3) == ({}, 7)
    assert stage.absent == [("a", 0, 2, "server went away"), ("b", 0, 2, "server went away")]
    assert stage.ended == [("a", 1)]
    assert stage.round(a=1, b=3) == ({"a": "A", "b": "B"}, 10)


def test_a_server_that_is_away_at_the_beginning() -> None:
    stage = Stage(server=Crash(at=0, duration=4), a=None)
    assert stage.round(a=1) == ({"a": "A"}, 5)
    assert stage.absent == []


def test_a_server_and_clients_that_must_be_there_together() -> None:
    """a is there until 1 and from 6 on, the server from 3 on: at 3 nobody is there to begin with."""
    stage = Stage(server=Crash(at=0, duration=3), a=Crash(at=1, duration=5))
    assert stage.round(a=1) == ({"a": "A"}, 7)
    assert stage.absent == []


def test_a_server_gone_for_good() -> None:
    with pytest.raises(Lost, match="gone for good: server"):
        Stage(server=Crash(at=2), a=None).round(a=3)


def nested(stage: Stage, inner: Mapping[str, float], edge: str = "edge") -> tuple[dict[str, Any], float]:
    """A round of the server whose one task is a round of ``edge``."""

    def task() -> Generator[Any, Any, Any]:
        tasks = {name: stage.task(name, seconds) for name, seconds in inner.items()}
        result = yield from run_round(stage, tasks, ALL, round=1, at=edge)  # type: ignore[arg-type]
        return result

    def process() -> Generator[Any, Any, Any]:
        tasks = {edge: task}
        arrived = yield from run_round(
            stage,
            tasks,
            ALL,
            round=1,
            at="server",
            behind={edge: tuple(inner)},  # type: ignore[arg-type]
        )
        return arrived, stage.now

    return stage.play(process())  # type: ignore[no-any-return]


def test_an_edge_server_takes_its_clients_along() -> None:
    stage = Stage(edge=Crash(at=2, duration=2), a=None, b=None)
    assert nested(stage, {"a": 1, "b": 5}) == ({}, 2)
    assert stage.absent == [(who, 0, 2, "edge went away") for who in ("edge", "a", "b")]  # each of them once
    assert stage.ended == [("a", 1)]
    assert nested(stage, {"a": 1, "b": 5}) == ({"edge": {"a": "A", "b": "B"}}, 9)


def test_a_cloud_takes_everyone_along() -> None:
    stage = Stage(server=Crash(at=2, duration=2), edge=None, a=None, b=Crash(at=1))
    assert nested(stage, {"a": 3, "b": 5}) == ({}, 4)
    assert stage.absent[0] == ("b", 0, 1, "b went away")
    assert stage.absent[1:] == [(who, 0, 2, "server went away") for who in ("edge", "a", "b")]


def test_what_was_planned_for_a_round_does_not_outlive_it() -> None:
    """The inner round is given up at 2; its server goes away at 8, its deadline passes at 30: nothing comes of it."""
    stage = Stage(server=Crash(at=2, duration=1), edge=Crash(at=8), a=None)
    assert nested(stage, {"a": 50}) == ({}, 3)
    stage.env.run()
    assert stage.now >= 8
    assert len(stage.absent) == 2


def test_work_that_is_insisted_on() -> None:
    """The server is there from 0 to 1 and from 4 to 5: work of half a second from 0.75 is lost, and begun anew at 4."""
    stage = Stage(server=OnOff(on=1, off=3, times="fixed"))
    tries = []

    def compute(node: str, work: Work, **_: Any) -> Generator[Any, Any, Any]:
        tries.append(stage.now)
        execution = yield from stage.devices[node].compute(work.flops)
        if execution.status != "ok":
            raise Lost("lost")
        return "done"

    stage.compute = compute  # type: ignore[attr-defined]
    work = Work("aggregate", lambda: (), (), (), 0.5)
    stage.play(stage.wait(0.75))
    assert stage.play(retry(stage, "server", work, round=1)) == "done"  # type: ignore[arg-type]
    assert stage.now == 4.5
    assert tries == [0.75, 4]
    gone = Stage(server=Crash(at=1))
    gone.compute = lambda node, work, **_: (yield from compute(node, work))  # type: ignore[attr-defined]
    stage = gone
    with pytest.raises(Lost, match="gone for good: server"):
        gone.play(retry(gone, "server", Work("aggregate", lambda: (), (), (), 3.0), round=1))  # type: ignore[arg-type]


def test_attend_waits_for_the_first() -> None:
    stage = Stage(a=Crash(at=0, duration=5), b=Crash(at=0, duration=3), c=Crash(at=0))
    stage.play(wait_until_online(stage, ("a", "b", "c")))  # type: ignore[arg-type]
    assert stage.now == 3
    stage.play(wait_until_online(stage, ()))  # type: ignore[arg-type]
    assert stage.now == 3


_times = st.integers(0, 12).map(lambda n: n / 2)
_downtime = st.none() | st.builds(Crash, at=_times, duration=st.none() | st.integers(1, 12).map(lambda n: n / 2))
_tasks = st.lists(st.tuples(_downtime, st.integers(1, 16).map(lambda n: n / 2)), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(_tasks, _downtime, st.none() | st.integers(1, 4), st.none() | st.integers(1, 12))
def test_laws_of_a_round(
    tasks: list[tuple[Crash | None, float]], server: Crash | None, first: int | None, deadline: int | None
) -> None:
    """Whoever is asked arrives or is missing, once and not both; who arrives was there and in time; nothing goes on."""
    names = {f"n{i}": d for i, (d, _) in enumerate(tasks)}
    seconds = {f"n{i}": s for i, (_, s) in enumerate(tasks)}
    stage = Stage(server=server, **names)
    wait = WaitOptions(first=first, deadline=deadline)
    try:
        arrived, closed = stage.round(wait, **seconds)
    except Lost:
        away = [d is not None and d.duration is None for d in names.values()]
        assert all(away) or (server is not None and server.duration is None)
        return
    stage.env.run()
    begins = {since for _, since, *_ in stage.absent}
    assert len(begins) <= 1
    absent = [who for who, *_ in stage.absent]
    assert sorted([*arrived, *absent]) == sorted(names)
    if begins:
        (begin,) = begins
        assert closed >= begin
        assert all(stage.begun[name] >= begin for name in arrived)
        if deadline is not None and arrived:
            assert closed <= begin + deadline
    for name in arrived:  # with a deadline, a round may begin before anybody is there to work
        start, d = stage.begun[name], names[name]
        assert start + seconds[name] <= closed
        assert d is None or d.at >= start + seconds[name] or d.at + (d.duration or math.inf) <= start
    if first is not None:
        assert len(arrived) <= first
    assert all(at <= closed for *_, at, _ in stage.absent)
    assert all(time <= closed for _, time in stage.ended)  # who is late was stopped
