"""Every invariant, broken on purpose: the run fails and names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import simpy
import torch
from small_runs import known, played, worlds

from elsa_sim.base.errors import InvariantViolation
from elsa_sim.codecs.cast import Float16
from elsa_sim.learning.execution.executor import Executor
from elsa_sim.learning.training.model import Model
from elsa_sim.links import MaxMin
from elsa_sim.network import incremental
from elsa_sim.network.progressive_filling import fill
from elsa_sim.results.event_table import Recorder
from elsa_sim.world import event_log
from elsa_sim.world.evaluation import Evaluation
from elsa_sim.world.invariants import event_log_faults, invariants

Patch = pytest.MonkeyPatch
Row = dict[str, Any]
TIMING = "execution.mode=timing"


class Leaky(Counter[str]):
    """Loses what is added for activations."""

    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, 7 if key == "activation" else value)


def fails(match: str, *changes: str) -> None:
    with pytest.raises(InvariantViolation, match=match):
        played(*changes)


@pytest.mark.parametrize("book", ["sent", "received"])
def test_bytes_that_are_lost(monkeypatch: Patch, book: str) -> None:
    monkeypatch.setattr(event_log, "ByteCounters", partial(event_log.ByteCounters, **{book: Leaky()}))
    fails(r"bytes of kind 'activation' are not conserved: \d+ sent, \d+ received, aborted or in flight", TIMING)


def test_bytes_that_the_network_loses(monkeypatch: Patch) -> None:
    from elsa_sim.network import Network

    account = Network._account
    monkeypatch.setattr(Network, "_account", lambda self, message, bits: account(self, message, 0.5 * bits))
    fails("bytes are not conserved: links drained", TIMING)


def test_adapters_that_are_not_finite(monkeypatch: Patch) -> None:
    aggregate = Model.aggregate

    def spoilt(self: Model, *given: Any) -> Any:
        made = aggregate(self, *given)
        inner = made.function

        def function(*values: Any) -> Any:
            (merged,) = inner(*values)
            name = sorted(merged)[0]
            return ({**merged, name: torch.full_like(merged[name], float("nan"))},)

        return type(made)(made.label, function, made.inputs, made.outputs, made.flops)

    monkeypatch.setattr(Model, "aggregate", spoilt)
    monkeypatch.setattr(Evaluation, "__call__", lambda self, adapters, round: adapters.value and {"loss": 1.0})
    fails(r"adapter .*lora_A.* is not finite", "protocol={kind: fedavg, rounds: 1}")


def test_a_device_that_does_two_things_on_one_slot(monkeypatch: Patch) -> None:
    from elsa_sim.devices import device

    class Generous(device.Slots):
        def __init__(self, env: simpy.Environment, count: int) -> None:
            super().__init__(env, count + 1)

    monkeypatch.setattr(device, "Slots", Generous)
    fails("device edge0 did 2 things on 1 slots", TIMING, "devices.edge.speed=10 MFLOP/s")


def test_a_device_that_is_busier_than_there_is_time(monkeypatch: Patch) -> None:
    from elsa_sim.devices import Device

    check = Device.check

    def busier(self: Device) -> list[str]:
        self.busy_s *= 1000.0
        return check(self)

    monkeypatch.setattr(Device, "check", busier)
    fails(r"device client0 was busy for .* slot-seconds in", TIMING)


def test_a_link_over_its_capacity(monkeypatch: Patch) -> None:
    allocate = MaxMin.allocate
    monkeypatch.setattr(MaxMin, "allocate", lambda self, routes, room: 2.0 * allocate(self, routes, room))
    fails(r"channel \d+ carries .* of .* bit/s", TIMING, "network.resolve=all")


def test_a_link_over_its_capacity_in_the_fast_solver(monkeypatch: Patch) -> None:
    def doubled(*given: Any) -> Any:
        levels, fits = fill(*given)
        return [2.0 * level for level in levels], fits

    monkeypatch.setattr(incremental, "fill", doubled)
    shared = ("protocol={kind: fedavg, rounds: 1}", "topology.backhaul={up: 1 Mbit/s}", TIMING)
    fails(r"the link cloud>edge0 carried \d+ B between .* s and .* s, more than its 1e\+06 bit/s", *shared)
    fails("the link cloud>edge0 carried", "topology.backhaul={up: 1 Mbit/s, latency: 5 ms}", *shared[::2])
    assert played("network.model=ideal", *shared).summary["invariants"] == "hold"  # no contention: on purpose


def change_rows(monkeypatch: Patch, change: Callable[[Row], None]) -> None:
    """Have every row of the event table changed before it is written."""
    append = Recorder.append

    def changed(self: Recorder, row: Row) -> None:
        change(row)
        append(self, row)

    monkeypatch.setattr(Recorder, "append", changed)


def test_time_that_runs_backwards(monkeypatch: Patch) -> None:
    def backwards(row: Row) -> None:
        row["t_end_s"] -= 0.02 if row["kind"] == "transfer" else 0.0

    change_rows(monkeypatch, backwards)
    fails(r"time runs backwards: row \d+ starts at .* s and ends at .* s", TIMING)


def test_rows_that_are_out_of_order(monkeypatch: Patch) -> None:
    def earlier(row: Row) -> None:
        shift = min(row["t_start_s"], 0.02) if row["kind"] == "transfer" else 0.0
        row.update(t_start_s=row["t_start_s"] - shift, t_end_s=row["t_end_s"] - shift)

    change_rows(monkeypatch, earlier)
    fails(r"time runs backwards: row \d+ ends at .* s, after one that ends at", TIMING)


def test_a_clock_that_is_not_a_number(monkeypatch: Patch) -> None:
    change_rows(monkeypatch, lambda row: row.update(t_end_s=float("nan")) if row["kind"] == "aggregation" else None)
    fails("the event table has a time that is not a finite number", TIMING)


@pytest.mark.parametrize("lost", ["compute", "transfer", "aggregation"])
def test_what_was_begun_and_never_ends(monkeypatch: Patch, lost: str) -> None:
    append = Recorder.append
    dropped: list[str] = []

    def forgetful(self: Recorder, row: Row) -> None:
        if row["kind"] == lost and not dropped:
            dropped.append(row["kind"])
        else:
            append(self, row)

    monkeypatch.setattr(Recorder, "append", forgetful)
    fails(r"(\d+) transfers and pieces of work were begun, \d+ ended, were aborted or are in flight", TIMING)


def test_a_transfer_that_the_network_forgets(monkeypatch: Patch) -> None:
    from elsa_sim.network import Network

    end = Network._end

    def uncounted(self: Network, *args: Any) -> None:
        end(self, *args)
        self.tally.delivered = min(self.tally.delivered, 3)

    monkeypatch.setattr(Network, "_end", uncounted)
    fails(r"of \d+ transfers, 3 were delivered, 0 aborted, and 0 are under way", TIMING)


def test_buffers_that_are_not_as_declared(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Float16, "encoded", lambda self, spec: _bare(spec))
    fails(r"codec chain of 'activation' declared \d+ bytes and produced \d+", "codec={activation: [float16]}")


def _bare(spec: Any) -> Any:
    from elsa_sim.codecs.base import EncodedSpec

    return EncodedSpec(spec)


def test_several_at_once_are_all_named(monkeypatch: Patch) -> None:
    monkeypatch.setattr(event_log, "ByteCounters", partial(event_log.ByteCounters, received=Leaky()))
    change_rows(
        monkeypatch, lambda row: row.update(t_end_s=row["t_start_s"] - 1.0) if row["kind"] == "aggregation" else None
    )
    with pytest.raises(InvariantViolation) as caught:
        played(TIMING)
    assert "bytes of kind 'activation'" in str(caught.value)
    assert "time runs backwards" in str(caught.value)


def test_nothing_is_wrong_with_a_whole_run() -> None:
    with worlds() as made:
        results = played(TIMING)
    assert invariants(made[0]) == []
    assert results.summary["invariants"] == "hold"
    assert known().summary["invariants"] == "hold"


def test_an_empty_table_has_no_faults() -> None:
    table = Recorder().close()
    assert event_log_faults(table, 0) == []
    assert event_log_faults(table, 1) == [
        "1 transfers and pieces of work were begun, 0 ended, were aborted or are in flight"
    ]


def test_work_that_reads_what_nobody_computed_is_refused() -> None:
    """A timing-only value is never taken for a number."""
    with worlds() as made:
        played(TIMING)
    assert isinstance(made[0].executor, Executor)
    with pytest.raises(RuntimeError, match="timing only"):
        _ = made[0].model.initial().value
    assert np.isnan(known(TIMING).rounds["loss"]).all()
