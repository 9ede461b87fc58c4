"""Takes checkpoints of a run at the ends of its rounds, and leads a resumed run to the one that it goes on from.

A checkpoint costs no simulated time and is seen by nobody in the run. Its state names the run: the scenario, its files, the
versions of what its numbers depend on, and the events until then; a replay that comes there with other events is refused.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..learning.execution.journal import Journal, OtherRun
from ..results.event_table import Recorder
from ..world.round_end import RoundEnd, RoundObserver
from . import closing
from .checkpoint_files import Checkpoint, Folder
from .checkpoint_state import Events, Host, Run

if TYPE_CHECKING:
    from ..world.world import World
    from .checks import Plan


class HostTimes(RoundObserver):
    """Keeps the host time of every evaluation (s), those of an earlier process included."""

    def __init__(self, earlier: Host | None = None) -> None:
        self.earlier = Host() if earlier is None else earlier
        self.seconds = list(self.earlier.evaluations_s)
        self._begin = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """Host time so far."""
        return time.perf_counter() - self._begin + self.earlier.wall_s

    def ended(self, end: RoundEnd) -> None:
        if end.live:
            self.seconds.append(self.wall_s)


class Checkpoints(RoundObserver):
    """Writes what a scenario asks for into the run directory ``folder``; goes on from ``after``, if given.

    It is the last to be told of a round, so that everything else of that round is done.
    """

    def __init__(self, plan: Plan, folder: Path, recorder: Recorder, times: HostTimes, scenario: str,
                 after: Checkpoint | None = None) -> None:  # fmt: skip
        """``scenario`` is the text of the resolved scenario."""
        self.plan, self.recorder, self.times, self.scenario = plan, recorder, times, scenario
        self.journal = Journal() if after is None else Journal(after.snapshot(), after.readings())
        self._options, self._after = plan.scenario.checkpoint, after
        self._folder = Folder(folder, after)
        self._last_s = times.wall_s
        self._world: World | None = None
        self._unable = ""

    def begin(self, world: World) -> None:
        """The world was built; its rounds are to come."""
        self._world = world

    def ended(self, end: RoundEnd) -> None:
        """Write a checkpoint, if it is time for one.

        Raises:
            OSError: it cannot be written.
            OtherRun: what was played again is not the run of the checkpoint.
        """
        if self._after is not None:
            if end.round == self._after.round:
                self._resume(self._after)
            return
        every = self._options.every
        if every is None or not end.round or self._unable:
            return
        if end.round % every == 0 if isinstance(every, int) else self.times.wall_s - self._last_s >= every:
            self._write(end.round)
            self._last_s = self.times.wall_s

    def _resume(self, after: Checkpoint) -> None:
        world = self._world
        assert world is not None
        if self._state(after.round).events != after.state.events:
            raise OtherRun(
                f"what was played again until round {after.round} is not what was recorded: the event tables differ; "
                "this program or this machine is another one"
            )
        executor = world.executor
        executor.take_up(executor.time(self.journal.resume))
        self._after = None

    def _write(self, round: int) -> None:
        from ..learning.execution.values import NotStorable

        assert self._world is not None
        executor = self._world.executor
        try:
            self._folder.write(self.journal.snapshot(executor.pending), self.journal.taken(), self._state(round))
        except NotStorable as error:
            self._unable = f"no checkpoint was taken from round {round} on: a value of type {error} cannot be stored"
        else:
            self._folder.keep(self._options.keep)

    def _state(self, round: int) -> Run:
        """What a checkpoint says of its run."""
        assert self._world is not None
        math_s = self._world.executor.math_s + self.times.earlier.math_s
        return Run(
            round=round,
            now_s=self._world.now,
            scenario=self.scenario,
            inputs=self.plan.context.digests,
            versions=closing.versions(),
            events=Events(rows=self.recorder.rows, trace_sha256=self.recorder.digest()),
            host=Host(wall_s=self.times.wall_s, math_s=math_s, evaluations_s=list(self.times.seconds)),
        )

    def finish(self) -> None:
        """Training has ended.

        Raises:
            OtherRun: before the checkpoint that the run was to go on from.
        """
        if self._after is not None:
            raise OtherRun(f"the run has ended before round {self._after.round}, where its checkpoint was taken")

    @property
    def notes(self) -> list[str]:
        """What the summary should say."""
        return [self._unable] if self._unable else []

    def close(self) -> None:
        """The run has ended, and all else of its directory is there: remove what nobody needs any more."""
        if not self._options.lasting:
            self._folder.remove()
