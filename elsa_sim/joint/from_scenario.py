"""From a scenario to its joint problem, and back: what SflLLM's optimiser decides by, from the program's own cost model.

FLOPs and bytes are those of the messages that a run
sends, gains and rates those of the run's radio at its start. So the delay of a decision is that of the simulated timeline
with it: exactly where every sequence has the stated length, nothing fades, nobody slows down and no codec depends on data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..base.errors import Fault, InputFaults
from ..codecs.base import MessageContext
from ..codecs.chain import chain_flops, coupled, resolved, wire_specs
from ..devices import DeviceOptions
from ..learning.backbone.flops import pass_flops, update_flops
from ..learning.backbone.memory import Outline
from ..learning.backbone.options import Part, adapted
from ..learning.execution.work import TensorSpec
from ..protocols.base import Protocol
from ..run.checks import Plan
from ..run.cost_inputs import machine, radio_of
from ..wireless import Radio
from ..wireless.rate import Floats
from . import Decision, Load, Problem, Uplink


@dataclass(frozen=True)
class Message:
    """One kind of message: bytes with their framing, and FLOPs of encoding and decoding it."""

    size: float
    encode: float
    decode: float


def problem(
    plan: Plan,
    *,
    cuts: Sequence[int] | None = None,
    ranks: Sequence[int] | None = None,
    rounds: Mapping[int, float] | None = None,
    length: int | None = None,
) -> Problem:
    """The joint problem of a scenario of ``sflllm`` with wireless clients.

    Args:
        cuts: layers of Part 1 to choose from; all by default. Those that do not fit a device's memory are left out.
        ranks: LoRA ranks to choose from; by default the scenario's.
        rounds: E(r), rounds to a target at each rank; by default one each, so that the delay is that of a round.
        length: tokens of every sequence; by default the task's longest.

    Raises:
        InputFaults: the scenario has no such problem, or no cut fits.
    """
    scenario, layout, protocol = plan.scenario, plan.layout, plan.scenario.protocol
    if layout is None:
        raise InputFaults([Fault("wireless", "there is nothing to allocate without wireless access; add the section")])
    if not protocol.pattern.joint:
        what = f"protocol {protocol.kind!r} has no main server that takes all activations as one batch"
        raise InputFaults([Fault("protocol.kind", f"{what}; valid: {', '.join(systems())}")])
    radio = radio_of(scenario, layout, plan.context.streams)
    main = plan.topology.cloud
    fed_server = protocol.aggregator or main
    faults = [*_faults(plan, main, fed_server)]
    if faults:
        raise InputFaults(faults)
    names = layout.clients
    layers = plan.source.layers
    if cuts is not None and (wrong := [cut for cut in cuts if not 1 <= cut < layers]):
        raise InputFaults([Fault("split.p", f"{wrong[0]}: the backbone has {layers} layers; valid: 1 to {layers - 1}")])
    ranks = (scenario.backbone.lora.rank,) if ranks is None else ranks
    cuts = range(1, layers) if cuts is None else cuts
    loads, narrow = {}, []
    for rank in ranks:
        lora = scenario.backbone.lora.model_copy(update={"rank": rank})
        outline = replace(plan.outline, lora=lora)
        for cut in cuts:
            if misfit := _misfit(plan, outline, cut, main):
                narrow.append(misfit)
                continue
            loads[cut, rank] = _load(plan, radio, outline, cut, length or scenario.task.max_length, main, fed_server)
    if not loads:
        raise InputFaults([Fault("split", f"no cut fits: {'; '.join(dict.fromkeys(narrow))}")])
    return Problem(
        names=names,
        main=_uplink(plan, radio, main),
        fed_server=_uplink(plan, radio, fed_server),
        loads=loads,
        steps=protocol.local_steps,
        rounds=dict.fromkeys(ranks, 1.0) if rounds is None else rounds,
        barrier=protocol.in_phase,
    )


def systems() -> list[str]:
    """The protocols whose server takes all activations as one batch, by kind."""
    return sorted(
        kind for kind, member in Protocol.members.items() if getattr(getattr(member, "pattern", None), "joint", False)
    )


def stated(decision: Decision, problem: Problem, plan: Plan) -> list[str]:
    """A decision as changes to its scenario, as by ``--set``: with them, a run plays it."""
    main = plan.topology.cloud
    assigned: dict[str, dict[str, Any]] = {}
    for station, chosen in ((main, decision.main), (plan.scenario.protocol.aggregator or main, decision.fed_server)):
        own = {name: np.flatnonzero(chosen.owners == k) for k, name in enumerate(problem.names)}
        assigned[station] = {
            name: {"subchannels": mine.tolist(), "powers": chosen.power[mine].tolist()} for name, mine in own.items()
        }
    return [
        f"split={{policy: fixed, p: {decision.cut}}}",
        f"backbone.lora.rank={decision.rank}",
        f"wireless.assigned={json.dumps(assigned)}",
    ]


def _faults(plan: Plan, main: str, fed_server: str) -> Iterator[Fault]:
    scenario = plan.scenario
    assert scenario.wireless is not None
    stations = scenario.wireless.stations or plan.topology.names("edge") or plan.topology.names("cloud")
    if main == fed_server:
        yield Fault("protocol.federated", "the fed server has an uplink of its own; name a node beside the cloud")
    for server in dict.fromkeys((main, fed_server)):
        if server not in stations:
            yield Fault(
                "wireless.stations", f"{server!r} is no station; the delay is that of uplinks straight to the servers"
            )
    if len(stations) > 1 and scenario.wireless.association != "all":
        yield Fault("wireless.association", "clients need an uplink to both servers; valid: all")
    if len(plan.layout.clients if plan.layout else ()) < len(plan.topology.names("client")):
        yield Fault("wireless.clients", "all clients must be wireless")


def _misfit(plan: Plan, outline: Outline, cut: int, main: str) -> str:
    """Whom a cut does not fit, or nothing."""
    task, clients = plan.scenario.task, plan.topology.names("client")
    first, rest = plan.scenario.protocol.pattern.divide(plan.source.layers, cut, 0)
    need = outline.training([first], task.batch_size, task.max_length).total()
    for name in clients:
        if need > plan.devices[name].memory:
            return f"{cut} layers on {name}"
    served = outline.served([rest] * len(clients), task.batch_size, task.max_length, shared=True)
    return f"{plan.source.layers - cut} layers on {main}" if served.total() > plan.devices[main].memory else ""


def _uplink(plan: Plan, radio: Radio, station: str) -> Uplink:
    members, demand = radio.demand(station)
    assert members == radio.layout.clients
    latency = np.array([plan.played.latency(name, station) for name in members])
    return Uplink(demand.gain, demand.bandwidth, demand.noise, demand.power, demand.total, demand.cap, latency)


def _load(plan: Plan, radio: Radio, outline: Outline, cut: int, length: int, main: str, fed_server: str) -> Load:
    """What a cut and the rank of ``outline`` ask of everybody in a step and in a round."""
    scenario, names = plan.scenario, radio.layout.clients
    rows, clients = scenario.task.batch_size, len(names)
    first, rest = plan.scenario.protocol.pattern.divide(plan.source.layers, cut, 0)
    tokens = rows * length
    causal = scenario.task.objective == "causal_lm"
    states = {"n": outline.states(tokens)}
    pattern = scenario.protocol.pattern
    ((sending,), (returned,)) = pattern.crossed(up=True), pattern.crossed(up=False)
    up, down = (_message(plan, crossing.kind, crossing.up, states) for crossing in (sending, returned))
    attached = 4.0 * (rows * sending.lengths + (tokens if causal else rows) * sending.labels)
    adapters = _tensors(outline, first)
    upload, broadcast = (_message(plan, "adapters", way, adapters) for way in (True, False))

    def each(*pieces: float) -> Floats:
        return np.array([_seconds(plan.devices[name], *pieces) for name in names])

    def sent(message: Message, station: str) -> Floats:
        return np.array([plan.played.latency(station, n) + 8.0 * message.size / radio.rate(station, n) for n in names])

    backward = pass_flops(outline, first, "backward", rows, length) + update_flops(outline, [first])
    learn = pass_flops(outline, rest, "backward", clients * rows, length) + update_flops(outline, [rest])
    decoding = clients * _seconds(plan.devices[main], up.decode)
    mean = 2.0 * clients * outline.trained([first])
    return Load(
        forward=each(pass_flops(outline, first, "forward", rows, length)) + each(up.encode),
        activation=np.full(clients, 8.0 * (up.size + attached)),
        server_forward=decoding
        + _seconds(plan.devices[main], pass_flops(outline, rest, "forward", clients * rows, length)),
        server_backward=_seconds(plan.devices[main], learn)
        - plan.devices[main].launch
        + clients * _seconds(plan.devices[main], down.encode),
        gradient=sent(down, main),
        backward=each(down.decode) + each(backward),
        adapters=np.full(clients, 8.0 * upload.size),
        aggregate=_seconds(plan.devices[fed_server], mean),
        broadcast=sent(broadcast, fed_server),
    )


def _seconds(device: DeviceOptions, flops: float) -> float:
    """What a piece of work takes on a device; no work takes no time."""
    return machine(device).seconds(flops) if flops else 0.0


def _tensors(outline: Outline, part: Part) -> dict[str, TensorSpec]:
    """The adapters of a part: A [r, in] and B [out, r] of every module that has any."""
    rank, found = outline.lora.rank, {}
    for layer in range(part.start, part.stop):
        for number, (_, i, o) in enumerate(_modules(outline)):
            found[f"{layer}.{number}.A"], found[f"{layer}.{number}.B"] = TensorSpec((rank, i)), TensorSpec((o, rank))
    return found


def _modules(outline: Outline) -> list[tuple[str, int, int]]:
    """The linear modules of a layer that have adapters: name, inputs, outputs."""
    targets = adapted(outline.shape, outline.lora)
    return [module for module in outline.shape.linear() if module[0] in targets]


def _message(plan: Plan, kind: str, up: bool, tensors: Mapping[str, TensorSpec]) -> Message:
    """A message of these tensors through the codecs of its kind, as it is in a round that is not the first."""
    context = MessageContext(kind, up, round=2, index=1)
    ready = resolved(coupled(plan.scenario.codec.chains)[kind], context, None)
    payload, encode, decode = 0.0, 0.0, 0.0
    for spec in tensors.values():
        payload += sum(buffer.nbytes for buffer in wire_specs(ready, spec)[1]) if ready else spec.nbytes
        costs = chain_flops(ready, spec, context)
        encode, decode = encode + costs[0], decode + costs[1]
    return Message(plan.scenario.network.transport.wire_bytes(payload), encode, decode)
