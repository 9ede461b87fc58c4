"""Devices as scenarios state them: by name, by profile, by power model; and the faults."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from pydantic import ValidationError

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


@pytest.mark.parametrize(("given", "message"), [
    ({"speed": 1e-300}, "at least 1 and at most"), ({"speed": 1e22}, "at most 1e.21"), ({"memory": 1e19}, "at most 1e.18"),
    ({"slowdown": 1e-300}, "greater than or equal"), ({"slowdown": 1e7}, "less than or equal"), ({"launch": 1e5}, "thousands"),
    ({"power": {"idle": 1e11}}, "power station"), ({"power": {"kappa": 1.0}}, "less than or equal"),
    ({"power": {"frequency": 1e16}}, "that of light"),
    ({"stragglers": [{"kind": "background", "on": 1e-300}]}, "at least 1e-05"),
    ({"stragglers": [{"kind": "throttling", "period": 1e-9}]}, "at least 1e-05"),
    ({"stragglers": [{"kind": "throttling", "factor": 1e300}]}, "less than or equal"),
    ({"downtimes": [{"kind": "on_off", "on": 1e-9}]}, "more events than a run can play"),
    ({"downtimes": [{"kind": "crash", "at": 1e9}]}, "some three years"),
])  # fmt: skip
def test_what_no_device_has_is_refused_with_the_bound(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DeviceOptions.model_validate({"speed": 1e9, "memory": 1e9, **given})


def test_devices_at_the_bounds() -> None:
    DeviceOptions.model_validate({"speed": 1, "memory": 1e18, "slowdown": 1e6, "launch": 1e4, "power": {"busy": 1e10},
                                  "downtimes": [{"kind": "on_off", "on": 1e-5, "off": 1e8}]})  # fmt: skip
