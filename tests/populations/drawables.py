"""Options with fields that may be distributions."""

from __future__ import annotations

from elsa_sim.base.registry import Options
from elsa_sim.base.units import Bandwidth, Speed
from elsa_sim.populations import Drawable


class Device(Options):
    speed: Drawable[Speed] = 1e9
    up: Drawable[Bandwidth] | None = None
    name: Drawable[str] = "a"
    factor: Drawable[float] = 1.0
