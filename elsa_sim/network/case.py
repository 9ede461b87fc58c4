"""Network cases: flows on a topology without any learning, as `elsa-sim network CASE.json` plays them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Annotated, Any

import simpy
from annotated_types import Ge, Le
from pydantic import ConfigDict, Field, ValidationError

from ..base import files
from ..base.errors import Fault, InputError, InputFaults, InvariantViolation
from ..base.registry import Items, Options
from ..base.units import MOST_BANDWIDTH, MOST_BYTES, MOST_TIME
from ..topology import Link, Node, Topology, faults_of
from ..topology.limits import LEAST_BANDWIDTH, MOST_LATENCY
from ..topology.options import Duplex
from ..transports import Fluid, Transport
from . import Delivery, Network, NetworkOptions
from .options import Carrying

FLUID = Fluid()
#: The most bytes that a case may have as a file.
MOST_READ = 64 * 2**20
NonNegative = Annotated[float, Ge(0)]
When = Annotated[float, Ge(0), Le(MOST_TIME)]
Name = Annotated[str, Field(min_length=1)]


class CaseLink(Options):
    """A link of a case; ``bandwidth_bps`` holds per direction of a full-duplex link."""

    u: Name
    v: Name
    bandwidth_bps: Annotated[float, Ge(LEAST_BANDWIDTH), Le(MOST_BANDWIDTH)]
    latency_s: Annotated[float, Ge(0), Le(MOST_LATENCY)] = 0.0
    duplex: Duplex = "full"
    bandwidth_profile: Items[tuple[Items[tuple[NonNegative, NonNegative]], ...]] = ()


class CaseFlow(Options):
    """A message of a case; without ``route`` it takes the route of lowest latency.

    ``bytes`` are those on the wire, or payload where the case names a transport, which frames it.
    """

    id: Name
    src: Name
    dst: Name
    bytes: Annotated[float, Ge(0), Le(MOST_BYTES)]
    start_s: When = 0.0
    route: Items[tuple[str, ...]] | None = None


class Case(Options):
    """A case file; keys beside these (the expected times among them) are ignored."""

    model_config = ConfigDict(extra="ignore")

    nodes: Items[tuple[Name, ...]]
    links: Items[tuple[CaseLink, ...]]
    flows: Items[tuple[CaseFlow, ...]]
    transport: Carrying | None = None

    def wire_bytes(self, flow: CaseFlow) -> float:
        """The bytes of a flow on the wire."""
        return flow.bytes if self.transport is None else self.transport.wire_bytes(flow.bytes)


def load(path: str | Path) -> dict[str, Any]:
    """The JSON object in the file ``path``.

    Raises:
        InputFaults: there is no such file, or it is no JSON object in UTF-8.
    """
    try:
        case = json.loads(files.read(Path(path), MOST_READ).decode("utf-8-sig"))
    except files.Unreadable as error:
        raise InputFaults([Fault("", f"{path} {error}")]) from error
    except (ValueError, RecursionError) as error:
        raise InputFaults([Fault("", f"{path} is not JSON in UTF-8: {error}")]) from error
    if not isinstance(case, dict):
        raise InputFaults([Fault("", f"{path}: expected a JSON object, got {type(case).__name__}")])
    return case


def play(case: Mapping[str, Any], options: NetworkOptions | None = None) -> dict[str, float]:
    """Flow id -> finish time (s). A flow that never finishes (its link stays down) is ``inf``.

    The case's own transport goes before one that ``options`` state; without either, flows are fluid. Only the case's frames.

    Raises:
        InputFaults: all faults of the case at once.
    """
    parsed, topology, options = understood(case, options)
    env, flows = simpy.Environment(), parsed.flows
    network = Network(env, topology, options)
    finish = {flow.id: math.inf for flow in flows}

    def send(flow: CaseFlow) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(flow.start_s)
        delivery: Delivery = yield network.transfer(flow.src, flow.dst, parsed.wire_bytes(flow), flow.route)
        finish[flow.id] = delivery.t_end_s

    for flow in flows:
        env.process(send(flow))
    env.run()
    wrong = network.check()
    if wrong:
        raise InvariantViolation("; ".join(wrong))
    return finish


def _with(options: NetworkOptions, transport: Transport) -> NetworkOptions:
    """The options with another transport.

    Raises:
        InputFaults: it does not go with the link model.
    """
    given = {name: getattr(options, name) for name in options.model_fields_set}
    try:
        return NetworkOptions.model_validate({**given, "transport": transport})
    except ValidationError as error:
        raise InputFaults(
            [Fault("transport", str(each["msg"]).removeprefix("Value error, ")) for each in error.errors()]
        ) from error


def understood(case: Mapping[str, Any], options: NetworkOptions | None = None) -> tuple[Case, Topology, NetworkOptions]:
    """A case, its topology, and the options with which it is played.

    Raises:
        InputFaults: all faults of the case at once.
    """
    parsed, topology = _checked(case)
    options = options or NetworkOptions(transport=FLUID)
    stated = options.transport if "transport" in options.model_fields_set else FLUID
    return parsed, topology, _with(options, parsed.transport or stated)


def _checked(case: Mapping[str, Any]) -> tuple[Case, Topology]:
    try:
        parsed = Case.model_validate(dict(case))
    except ValidationError as error:
        faults = [Fault(_path(e["loc"]), str(e["ctx"]["error"]) if e["type"] == "value_error"  # which says what it got
                        else f"{e['msg']}, got {str(e['input'])[:60]}") for e in error.errors()]  # fmt: skip
        raise InputFaults(faults) from error
    nodes = [Node(name) for name in parsed.nodes]
    links = [Link(k.u, k.v, k.bandwidth_bps, k.bandwidth_bps, k.latency_s, k.duplex, k.bandwidth_profile)
             for k in parsed.links]  # fmt: skip
    faults = faults_of(nodes, links, "links", roles=False)
    seen: set[str] = set()
    known = set(parsed.nodes)
    pairs = {pair for link in links for pair in ((link.u, link.v), (link.v, link.u))}
    for i, flow in enumerate(parsed.flows):
        where = f"flows[{i}]"
        if flow.id in seen:
            faults.append(Fault(f"{where}.id", f"two flows have the id {flow.id!r}"))
        seen.add(flow.id)
        unknown = [end for end in (flow.src, flow.dst) if end not in known]
        faults += [Fault(where, f"there is no node {end!r}") for end in unknown]
        if flow.route is not None and not unknown:
            faults += _route_faults(flow, pairs, f"{where}.route")
    if faults:
        raise InputFaults(faults)
    topology = Topology(tuple(nodes), tuple(links))
    for i, flow in enumerate(parsed.flows):
        if flow.route is None and not _reaches(topology, flow):
            faults.append(Fault(f"flows[{i}]", f"there is no route from {flow.src!r} to {flow.dst!r}"))
    if faults:
        raise InputFaults(faults)
    return parsed, topology


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _route_faults(flow: CaseFlow, pairs: set[tuple[str, str]], where: str) -> list[Fault]:
    route = flow.route or ()
    if not route or route[0] != flow.src or route[-1] != flow.dst:
        return [Fault(where, f"a route begins with {flow.src!r} and ends with {flow.dst!r}, got {list(route)!r}")]
    missing = [pair for pair in itertools.pairwise(route) if pair not in pairs]
    return [Fault(where, f"there is no link between {u!r} and {v!r}") for u, v in missing]


def _reaches(topology: Topology, flow: CaseFlow) -> bool:
    try:
        topology.route(flow.src, flow.dst)
    except InputError:
        return False
    return True
