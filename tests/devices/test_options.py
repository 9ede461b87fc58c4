"""Devices as scenarios state them: by name, by profile, by power model; and the faults."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy

from elsa_sim.base.streams import Streams
from elsa_sim.devices import (
    Device,
    DeviceOptions,
    DevicesOptions,
    Execution,
    LogNormal,
    Throttling,
)


def run(works: list[tuple[float, float]], seed: int = 0, **options: Any) -> tuple[Device, list[Execution]]:
    """Queue (start, flops) on a device of 100 FLOP/s and run to the end."""
    env = simpy.Environment()
    worker = Device(env, "client0", DeviceOptions(speed=100.0, memory=1.0, **options), Streams(seed))
    done: list[Execution] = []

    def job(start: float, flops: float) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(start)
        done.append((yield from worker.compute(flops)))

    for work in works:
        env.process(job(*work))
    env.run()
    assert worker.check() == []
    return worker, done


def test_kappa_f_cubed() -> None:
    power = {"idle": 1.0, "busy": 99.0, "kappa": 1e-27, "frequency": "2 GHz"}
    worker, (execution,) = run([(0.0, 200.0)], power=power)
    assert execution.energy_j == pytest.approx(2.0 * (1.0 + 8.0))
    assert worker.energy_j()["compute"] == pytest.approx(18.0)


def test_options_by_name_and_their_faults() -> None:
    options = DevicesOptions.model_validate(
        {"client": {"stragglers": ["lognormal", {"kind": "throttling", "factor": 4}]}}
    )
    assert options.client.stragglers == (LogNormal(), Throttling(factor=4.0))
    with pytest.raises(ValueError, match="one of background, lognormal"):
        DevicesOptions.model_validate({"client": {"stragglers": ["lognormall"]}})
    with pytest.raises(ValueError, match="did you mean 'raspberry-pi-4'"):
        DevicesOptions.model_validate({"client": {"profile": "rasberry-pi-4"}})
