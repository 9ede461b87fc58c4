"""A run directory as a scene for other simulators: the transfers that it recorded, at the times at which they departed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..base.errors import Fault, InputError
from ..base.writing import shown
from ..network import NetworkOptions
from ..network.export import Message, Scene
from ..network.export.scene import interruptions
from ..results import run_directory
from ..topology import Link, Node, Topology


def scene_of(folder: str | Path, transport: Any = None) -> Scene:
    """The scene of a run; a message's id is its row in the event table, and in-flight ones are sent as a whole.

    ``transport`` (as a scenario has it) takes the place of the run's own, and frames its payloads.

    Raises:
        InputError: it is no run directory, or one of a version that did not record what its links are like.
    """
    folder = Path(folder)
    results = run_directory.load(folder)
    options, own, scenario = _options(folder, transport)
    links, beyond = _links(folder, results.topology)
    topology = Topology(tuple(Node(node["name"], node["role"]) for node in results.topology["nodes"]), links)
    beyond += interruptions(options)
    if scenario.get("wireless") is not None:
        beyond.append(Fault("wireless", "bandwidths that a radio sets are not exported"))
    before, messages = Scene(topology, (), own.transport), []
    transfers = results.events[results.events["kind"] == "transfer"]
    columns = ("t_start_s", "node", "peer", "bytes", "status", "route")
    for row, start, source, target, size, status, route in zip(
        transfers.index, *(transfers[c] for c in columns), strict=True
    ):
        if status == "aborted":
            beyond.append(
                Fault(f"events[{row}]", f"a message from {source} to {target} was given up, and is not exported")
            )
        nodes = tuple(route.split(">")) if route else topology.route(source, target)
        message = Message(str(row), nodes, float(size), float(start))
        if options.transport != own.transport:
            message = Message(str(row), nodes, options.transport.wire_bytes(before.payload(message)), float(start))
        messages.append(message)
    return Scene(topology, tuple(messages), options.transport, options.model.max_min, tuple(beyond))


def _options(folder: Path, transport: Any) -> tuple[NetworkOptions, NetworkOptions, dict[str, Any]]:
    """The options to export with, those of the run, and its scenario."""
    path = folder / "scenario.yaml"
    try:
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
        own = NetworkOptions.model_validate(scenario.get("network") or {})
    except OSError as error:
        raise InputError(f"{shown(path)} is needed, too: {error.strerror}") from None
    except ValidationError as error:
        raise InputError(f"{shown(path)}: network: {error.errors()[0]['msg']}") from None
    if transport is None:
        return own, own, scenario
    try:
        return NetworkOptions.model_validate(dict(own) | {"transport": transport}), own, scenario
    except ValidationError as error:
        raise InputError(f"transport: {error.errors()[0]['msg']}") from None


def _links(folder: Path, topology: dict[str, Any]) -> tuple[tuple[Link, ...], list[Fault]]:
    links, faults = [], []
    for i, link in enumerate(topology["links"]):
        if link.get("duplex") not in ("full", "half"):
            raise InputError(
                f"{shown(folder / 'topology.json')}: links.{i} does not tell its duplex; run the scenario again"
            )
        if link.get("varies"):
            faults.append(Fault(f"links[{i}]", f"the profile of {link['u']}-{link['v']} is not in a run directory"))
        links.append(Link(link["u"], link["v"], link["up_bps"], link["down_bps"], link["latency_s"], link["duplex"],
                          cell=link.get("cell"), jitter=link.get("jitter_s", 0.0), loss=link.get("loss", 0.0)))  # fmt: skip
    return tuple(links), faults
