"""How clients move, as a component; positions in m in a rectangle that begins at (0, 0).

Each client moves by a stream of its own, whatever it does. Does not capture streets, walls, or groups that move together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt, Le
from pydantic import Field, model_validator

from ..base.errors import Fault
from ..base.registry import Component, Items
from ..base.units import Seconds

Point = tuple[float, float]
Metres = Annotated[float, Field(ge=-1e9, le=1e9)]
MetresPerSecond = Annotated[float, Gt(0.0), Le(1e6)]


class Mobility(Component):
    """The movement of a client."""

    family: ClassVar[str] = "mobility"
    moves: ClassVar[bool] = True
    """Whether positions change at all."""

    def start(self, name: str, random: np.random.Generator, begin: Point, area: Point) -> Callable[[float], Point]:
        """The position of client ``name`` at a time (s, never decreasing from one call to the next)."""
        raise NotImplementedError

    def faults(self, clients: Sequence[str]) -> list[Fault]:
        """What is wrong with these options for these clients."""
        return []


class Static(Mobility):
    """Clients stay where they are."""

    kind: Literal["static"] = "static"
    moves: ClassVar[bool] = False

    def start(self, name: str, random: np.random.Generator, begin: Point, area: Point) -> Callable[[float], Point]:
        return lambda time: begin


class RandomWaypoint(Mobility):
    """Random waypoint (Johnson and Maltz 1996): straight to a uniform point of the area, pause, on to the next.

    Each leg has a uniform speed. The speed must not come near 0, or legs get ever longer on average (Yoon et al. 2003).
    It begins with a leg from where the client stands, so that the density, which ends up higher in the middle, is uniform
    at first.
    """

    kind: Literal["random_waypoint"] = "random_waypoint"
    speed: Items[tuple[MetresPerSecond, MetresPerSecond]] = (0.5, 1.5)
    """Lowest and highest speed of a leg, in m/s."""
    pause: Seconds = 0.0
    """Rest at every waypoint."""

    @model_validator(mode="after")
    def _in_order(self) -> RandomWaypoint:
        if self.speed[0] > self.speed[1]:
            raise ValueError(f"the lowest speed comes first, got {self.speed[0]:g} m/s before {self.speed[1]:g} m/s")
        return self

    def start(self, name: str, random: np.random.Generator, begin: Point, area: Point) -> Callable[[float], Point]:
        here, there, left, arrives = begin, begin, 0.0, -self.pause

        def at(time: float) -> Point:
            nonlocal here, there, left, arrives
            while time >= arrives + self.pause:
                here, left = there, arrives + self.pause
                x, y, u = random.random(3).tolist()
                there = (x * area[0], y * area[1])
                speed = self.speed[0] + u * (self.speed[1] - self.speed[0])
                arrives = left + max(math.dist(here, there) / speed, 1e-6)
            share = min(1.0, (time - left) / (arrives - left))
            return here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])

        return at


class Paths(Mobility):
    """Clients that move by a script, straight and at constant speed between points in time; all others stay."""

    kind: Literal["paths"] = "paths"
    paths: dict[str, Items[tuple[Items[tuple[Seconds, Metres, Metres]], ...]]]
    """Per client ``[[time, x, y], ...]`` in m: ``{client0: [[0, 0, 0], [60, 500, 0]]}``."""

    @model_validator(mode="after")
    def _in_time(self) -> Paths:
        for name, points in self.paths.items():
            if not points:
                raise ValueError(f"the path of {name!r} has no points")
            if any(b[0] <= a[0] for a, b in itertools.pairwise(points)):
                raise ValueError(f"the times of the path of {name!r} must increase")
        return self

    def start(self, name: str, random: np.random.Generator, begin: Point, area: Point) -> Callable[[float], Point]:
        if name not in self.paths:
            return lambda time: begin
        times, xs, ys = np.array(self.paths[name], dtype=np.float64).T
        return lambda time: (float(np.interp(time, times, xs)), float(np.interp(time, times, ys)))

    def faults(self, clients: Sequence[str]) -> list[Fault]:
        return [
            Fault(f"paths.{name}", f"there is no wireless client {name!r}")
            for name in self.paths
            if name not in clients
        ]
