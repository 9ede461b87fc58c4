"""Options that are stated and have no effect in this scenario: each is a fault, as whoever states it believes otherwise.

What a family can see by itself (an aggregation rule where nothing is aggregated, a codec for a message that is never sent)
it refuses by itself; here is what takes more than one section to see. Tested in tests/run/test_effects.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base.errors import Fault
from ..learning.splits.fixed import FixedSplit
from ..network.options import NetworkOptions
from ..protocols.base import Protocol
from ..scenario.adapter_options import AdapterOptions
from ..scenario.model import Scenario
from ..world.rounds import WaitOptions


def of_sections(scenario: Scenario, protocol: Protocol) -> Iterator[tuple[str, Fault]]:
    """Section -> a fault of it, from the options alone."""
    if not protocol.pattern.split and scenario.split != FixedSplit():
        what = f"protocol {protocol.kind!r} does not cut the model, so a split has no effect; leave the section out"
        yield "split", Fault("", what)
    if scenario.task.textless and scenario.execution.mode == "real":
        what = "there are lengths only, and real arithmetic needs texts"
        yield "task", Fault("kind", f"{what}; valid with execution.mode: timing only")
    network, usual = scenario.network, NetworkOptions()
    waits = [
        name
        for name in ("backoff", "backoff_factor", "backoff_limit")
        if getattr(network, name) != getattr(usual, name)
    ]
    if network.stall_timeout is None and network.attempt_timeout is None:
        for name in (*(["retries"] if network.retries != usual.retries else []), *waits):
            what = "a message is only sent again after a stall_timeout or an attempt_timeout, and there is none"
            yield "network", Fault(name, f"{what}; state one, or leave it out")
    elif not network.retries:
        for name in waits:
            yield "network", Fault(name, "has no effect with retries: 0; leave it out")
    if scenario.execution.precision != "float32" and scenario.backbone.numbers.halved:
        what = (
            "is for products of float32 weights, and backbone.dtype or backbone.quantize says otherwise; leave one out"
        )
        yield "execution", Fault("precision", what)
    if scenario.adapters.clients and not protocol.pattern.trained_at("client"):
        yield "adapters", Fault("clients", f"no client trains under protocol {protocol.kind!r}; leave it out")
    if scenario.execution.cluster == "ray" and scenario.execution.device == "cuda":
        yield (
            "execution",
            Fault("cluster", "workers of a Ray cluster are given processors only; valid with device: cuda: local"),
        )
    stop = scenario.stop
    if stop.rounds is not None and stop.rounds > protocol.rounds:
        yield "stop", Fault("rounds", f"the protocol ends after {protocol.rounds}, before {stop.rounds}; leave it out")


def unlooked(scenario: Scenario) -> Iterator[str]:
    """Options that have an effect in another mode, or on another kind, than this scenario's, which a study states for all."""
    if scenario.unreliable is not None:
        for name in scenario.unreliable.idle():
            yield f"unreliable.{name} is of no kind that is stated here"
    if scenario.execution.mode == "timing":
        if scenario.stop.target_accuracy is not None:
            yield "stop.target_accuracy is never reached in timing mode, which has no accuracy"
        if scenario.execution.workers > 1:
            yield "execution.workers have nothing to do in timing mode"
        if scenario.execution.device != "cpu":
            yield "execution.device has nothing to do in timing mode"
        if scenario.execution.cluster != "local":
            yield "execution.cluster has nothing to do in timing mode"
        if scenario.adapters != AdapterOptions():
            yield "adapters are not kept in timing mode, which has none"
        if scenario.backbone.adapters is not None:
            yield "backbone.adapters have no effect in timing mode, which has no values"
    if scenario.execution.worker_timeout is not None and scenario.execution.workers == 1:
        yield "execution.worker_timeout has an effect with several workers only"


def of_waiting(protocol: Protocol, clients: Mapping[str, str], cloud: str) -> Iterator[Fault]:
    """Why ``protocol.wait`` has no effect, if so, where ``clients`` belong to these edge servers; paths are the protocol's."""
    if protocol.wait == WaitOptions():
        return
    if protocol.continuous or not protocol.pattern.trained_at("client"):
        why = "takes updates as they come" if protocol.continuous else "trains in one place"
        yield Fault("wait", f"{protocol.kind} {why} and waits for no round; leave it out")
    elif protocol.wait.first is not None:
        everyone = protocol.model_copy(update={"wait": WaitOptions()})
        most = max((each.members for each in everyone.aggregators(clients, cloud) if each.what == "clients"), default=0)
        if 0 < most < protocol.wait.first:
            yield Fault("wait.first", f"no server has more than {most} clients to wait for, got {protocol.wait.first}")
