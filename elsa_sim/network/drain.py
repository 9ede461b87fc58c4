"""The fluid in simulated time: flows drain, bandwidths change, and whoever is done is told of.

Rates change only when a flow enters, ends, stalls or a bandwidth changes; changes at one instant are settled together,
after everything else that happens at that instant. Tested in tests/network/test_engine.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import simpy

from .channels import Channels
from .fluid import Flow, Fluid
from .timer import Timer, at


class Drain:
    """Flows over channels whose bandwidth changes.

    ``ended`` is called for every flow that is done or stalls, ``fallen`` for the channels that go down; bandwidths are
    looked after while anybody is ``busy``.
    """

    def __init__(self, env: simpy.Environment, channels: Channels, fluid: Fluid, ended: Callable[[Flow], None],
                 fallen: Callable[[set[int]], None], busy: Callable[[], bool]) -> None:  # fmt: skip
        self._env = env
        self._channels = channels
        self._ended, self._fallen, self._busy = ended, fallen, busy
        self.fluid = fluid
        self._settling = False
        self._completion = Timer(env, self.settle)
        self._waking = Timer(env, self._tick)

    def enter(self, flow: Flow) -> None:
        """A flow drains from now on."""
        self.fluid.enter(flow, self._env.now)
        self.settle_soon()

    def leave(self, flow: Flow) -> None:
        """A flow is given up; its ``left`` is that of now."""
        if not flow.stalled:
            self.fluid.leave(flow, self._env.now)
        self.settle_soon()

    def drained(self, flow: Flow) -> float:
        """Bits of a flow that have drained by now."""
        return flow.bits - flow.held_back - (0.0 if flow.stalled else self.fluid.left(flow, self._env.now))

    def settle_soon(self) -> None:
        """Share anew after everything else that happens now."""
        if not self._settling:
            self._settling = True
            at(self._env, self._env.now, lambda _: self.settle())

    def settle(self) -> None:
        """Drain up to now, tell of who is done, and share anew."""
        self._settling = False
        for flow in self.fluid.settle(self._env.now):
            self._ended(flow)
        self._completion.by(self.fluid.next_time())

    def wake(self) -> None:
        """Somebody begins to be busy: bandwidths that nobody looked after are brought up to date."""
        if self._waking.time == math.inf:
            self.catch_up()

    def catch_up(self) -> None:
        """Set every bandwidth to that of now, and wake at the next change as long as anybody is busy."""
        self._change(self._channels.changes(self._env.now))
        self._waking.by(self._channels.next_change(self._env.now))

    def change(self, capacities: Mapping[int, float]) -> None:
        """The bandwidth of some channels is another from now on (bit/s)."""
        self.settle()  # what is done by now is done before the bandwidth changes
        self._change(capacities)
        self.settle_soon()

    def _change(self, capacities: Mapping[int, float]) -> None:
        now, down = self._env.now, self._channels.down
        fallen = set()
        self._channels.changed += bool(capacities)
        for channel, capacity in capacities.items():
            self._channels.capacities[channel] = capacity
            self.fluid.set_capacity(channel, capacity, now)
            if capacity > 0.0:
                down.pop(channel, None)
            elif channel not in down:
                down[channel] = now
                fallen.add(channel)
        if fallen:
            self._fallen(fallen)

    def _tick(self) -> None:
        self.settle()  # as above
        if self._busy():
            self.catch_up()
            self.settle()
