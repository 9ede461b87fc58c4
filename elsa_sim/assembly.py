"""From a scenario to its world: every section is built, and what is wrong with any of them is told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from .codecs.base import faults as codec_faults
from .codecs.base import gradient_chain
from .context import Context
from .devices import DeviceOptions
from .errors import Fault, InputFaults, ScenarioError
from .learning import backbone_options
from .learning.footprint import Footprint, Outline
from .learning.tasks.base import Split, Texts
from .learning.tokenizers import LEARNED_VOCABULARY
from .scenario import Loaded, Scenario
from .topology import Topology
from .topology.model import listed
from .units import format_bytes

if TYPE_CHECKING:
    from .learning.work import Ref
    from .recorder import Recorder
    from .wireless import Layout
    from .world import Client, Observer, World

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a scenario describes, built but for weights and token ids: enough to know that it can run."""

    scenario: Scenario
    context: Context
    topology: Topology
    devices: Mapping[str, DeviceOptions]
    source: backbone_options.Source
    cut: tuple[int, int] | None
    texts: Texts
    samples: Sequence[npt.NDArray[np.int64]]
    edge_of: Mapping[str, str]
    layout: Layout | None = None

    @property
    def played(self) -> Topology:
        """The topology that messages cross: with a link from each wireless client to each station."""
        return self.topology if self.layout is None else self.layout.extended


def plan(loaded: Loaded) -> Plan:
    """Build every section of a scenario; reads no weights.

    Raises:
        ScenarioError: all faults of all sections.
    """
    scenario, context = loaded.scenario, loaded.context
    faults: list[Fault] = []

    def attempt(section: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except InputFaults as error:
            faults.extend(loaded.located(error, section))
            return None

    topology = attempt("topology", lambda: scenario.topology.build(context))
    if topology is not None:
        faults.extend(loaded.located(_lacking(topology, scenario), "topology"))
    devices = attempt("devices", lambda: scenario.devices.of(topology, context)) if topology is not None else None
    layout = None
    if topology is not None:
        attempt("network", lambda: scenario.network.check(topology))
    if topology is not None and (wireless := scenario.wireless) is not None:
        layout = attempt("wireless", lambda: wireless.layout(topology, context.streams))
    source = attempt("backbone", lambda: backbone_options.locate(scenario.backbone, context))
    cut = None
    if source is not None and scenario.protocol.server is not None:
        cut = attempt("split", lambda: scenario.split.cut(source.layers))
    texts = attempt("task", lambda: scenario.task.read(context))
    samples: Any = None
    if texts is not None and topology is not None and topology.names("client"):
        count = len(topology.names("client"))
        rng = context.streams.numpy("partition")
        samples = attempt("partition", lambda: scenario.partition.split(_outline(texts), count, rng))
    if (
        source is not None
        and scenario.task.objective == "causal_lm"
        and source.config.model_type in backbone_options.ENCODERS
    ):
        valid = ", ".join(backbone_options.DECODERS)
        message = f"{scenario.backbone.name!r} is an encoder; causal_lm needs a decoder: {valid}"
        faults.extend(loaded.located([Fault("name", message)], "backbone"))
    faults.extend(loaded.located(_codec_faults(scenario), "codec"))
    edge_of = nearest(topology) if topology is not None and topology.names("cloud") else {}
    if source is not None and texts is not None and devices is not None and topology is not None and not faults:
        outline = Outline.of(
            source,
            scenario.backbone.lora,
            causal_lm=scenario.task.objective == "causal_lm",
            labels=max(len(texts.labels), 2),
            vocabulary=_vocabulary(scenario, source, texts),
        )
        needs = _needs(scenario, outline, source.layers, cut, topology, edge_of)
        faults.extend(loaded.located(_too_large(needs, devices), "devices"))
    if faults:
        raise ScenarioError(loaded.document.source, faults)
    assert topology is not None
    assert devices is not None
    assert source is not None
    assert texts is not None
    return Plan(scenario, context, topology, devices, source, cut, texts, samples, edge_of, layout)


def nearest(topology: Topology) -> dict[str, str]:
    """Client -> its edge server: the one with the least latency, the first by name among equals."""
    edges = topology.names("edge") or topology.names("cloud")
    if len(edges) == 1:
        return dict.fromkeys(topology.names("client"), edges[0])
    return {
        client: min(edges, key=lambda edge: (topology.latency(client, edge), edges.index(edge)))
        for client in topology.names("client")
    }


def _lacking(topology: Topology, scenario: Scenario) -> list[Fault]:
    faults = []
    if not topology.names("client"):
        faults.append(Fault("", "there is no client; give at least one node the role client"))
    if scenario.protocol.kind == "elsa" and not topology.names("edge"):
        faults.append(Fault("", "protocol elsa needs an edge server; give at least one node the role edge"))
    return faults


def _vocabulary(scenario: Scenario, source: backbone_options.Source, texts: Texts) -> int:
    """Tokens of a backbone without a tokenizer: the task's, or as many as are learned at most."""
    if source.tokenizer is not None:
        return 0
    own = scenario.task.tokenizer(texts)
    return len(own) if own is not None else LEARNED_VOCABULARY


def _needs(
    scenario: Scenario,
    outline: Outline,
    layers: int,
    cut: tuple[int, int] | None,
    topology: Topology,
    edge_of: Mapping[str, str],
) -> dict[str, tuple[str, Footprint, int]]:
    """Node -> what is trained there, its footprint, and the number of copies."""
    clients, (cloud,) = topology.names("client"), topology.names("cloud")
    size, length = scenario.task.batch_size, scenario.task.max_length
    if cut is None:
        footprint = outline.training([backbone_options.whole(layers)], size, length)
        nodes = (cloud,) if scenario.protocol.kind == "centralized" else clients
        return dict.fromkeys(nodes, ("the whole model", footprint, 1))
    first, middle, last = backbone_options.three_parts(layers, *cut)
    theirs = outline.training([first, last], size, length)
    needs = dict.fromkeys(clients, ("Part 1 and Part 3", theirs, 1))
    servers = Counter(edge_of[c] if scenario.protocol.server == "edge" else cloud for c in clients)
    part = outline.training([middle], size, length)
    for name, copies in servers.items():
        needs[name] = (f"{copies} {'copies' if copies > 1 else 'copy'} of Part 2", part, copies)
    return needs


def _too_large(
    needs: Mapping[str, tuple[str, Footprint, int]], devices: Mapping[str, DeviceOptions]
) -> Iterator[Fault]:
    """What does not fit the memory of its device; nodes that lack the same are told of together."""
    lacking: dict[tuple[str, Footprint, int, float], list[str]] = {}
    for name, (what, footprint, copies) in needs.items():
        if footprint.total(copies) > devices[name].memory:
            lacking.setdefault((what, footprint, copies, devices[name].memory), []).append(name)
    for (what, footprint, copies, memory), names in lacking.items():
        parts = ", ".join(
            f"{kind} {format_bytes(size)}"
            for kind, size in (
                ("weights", footprint.weights),
                ("adapters with gradients and moments", copies * footprint.adapters),
                ("activations about", copies * footprint.activations),
            )
        )
        total = footprint.total(copies)
        yield Fault(
            "",
            f"{what} on {listed(names)} takes {total} bytes ({parts}); memory is {memory:.0f} bytes "
            f"({format_bytes(int(memory))}); give more, train fewer layers there, or a smaller task.batch_size",
        )


def _outline(texts: Texts) -> Split:
    """Labels and columns of the training texts, as a partition looks at them."""
    count = len(texts.train)
    empty = np.zeros(0, dtype=np.int32)
    return Split(empty, np.zeros(count + 1, dtype=np.int64), texts.train.labels, texts.train.columns)


def _codec_faults(scenario: Scenario) -> list[Fault]:
    chains = {name: getattr(scenario.codec, name) for name in type(scenario.codec).model_fields}
    found = []
    for message, chain in chains.items():
        for position, reason in codec_faults(chain, message, chains["activation"]):
            found.append(Fault(f"{message}.{position}", reason))
    joined = gradient_chain(chains["activation"], chains["gradient"])
    if not found and joined != tuple(chains["gradient"]):
        offset = len(joined) - len(chains["gradient"])
        for position, reason in codec_faults(joined, "gradient", chains["activation"]):
            found.append(Fault(f"gradient.{max(0, position - offset)}", reason))
    return found


def _server(plan: Plan) -> Callable[[Client], str] | None:
    """Where Part 2 of a client runs."""
    cloud, where = plan.topology.cloud, plan.scenario.protocol.server
    return None if where is None else (lambda client: client.edge if where == "edge" else cloud)


def _no_test(adapters: Ref, round: int) -> dict[str, float]:
    """Timing only: nothing to evaluate."""
    return {}


def build(loaded: Loaded, plan: Plan, env: Any, recorder: Recorder, observer: Observer) -> World:
    """The world of a plan: weights loaded, texts tokenised, nodes and links in simulated time.

    Raises:
        ScenarioError: the weights cannot be loaded, or adapters have no place in the backbone.
    """
    import torch

    from .devices import Device
    from .evaluation import Evaluation
    from .learning.backbone import build as build_backbone
    from .learning.data import Batches
    from .learning.executor import EXECUTORS
    from .learning.flops import FlopCounter
    from .learning.model import Model
    from .learning.tasks.base import tokenize
    from .learning.tokenizers import tokenizer_for
    from .network import Network
    from .wire import Wire
    from .wireless import Radio
    from .world import Client, World

    scenario, streams, timing = plan.scenario, plan.context.streams, plan.scenario.execution.mode == "timing"
    try:
        tokenizer = tokenizer_for(plan.source, scenario.task, plan.texts)
        data = tokenize(plan.texts, tokenizer, scenario.task)
    except InputFaults as error:
        raise ScenarioError(loaded.document.source, loaded.located(error, "task")) from None
    make = partial(
        build_backbone,
        scenario.backbone,
        plan.source,
        scenario.task.objective,
        labels=max(len(data.labels), 2),
        vocabulary=data.vocab_size,
        pad_id=data.pad_id,
        seed=streams.integer("backbone"),
    )
    device = scenario.execution.device
    if device == "cuda" and not torch.cuda.is_available():
        fault = Fault("device", "there is no CUDA device here; valid: cpu")
        raise ScenarioError(loaded.document.source, loaded.located([fault], "execution"))
    try:
        outline = make(meta=True)
        backbone = outline if timing else make().to(device)
    except InputFaults as error:
        raise ScenarioError(loaded.document.source, loaded.located(error, "backbone")) from None
    executor = EXECUTORS["timing" if timing else scenario.execution.executor]()
    model = Model(backbone, FlopCounter(outline))
    parts = backbone_options.three_parts(model.layers, *plan.cut) if plan.cut else None
    size = scenario.task.batch_size

    def client(index: int, name: str, samples: npt.NDArray[np.int64]) -> Client:
        batches = Batches(data.train, samples, size, data.pad_id, streams.numpy("batches", index))
        return Client(index, name, plan.edge_of.get(name, ""), samples, batches, parts)

    names = plan.topology.names("client")
    clients = [client(i, name, samples) for i, (name, samples) in enumerate(zip(names, plan.samples, strict=True))]
    pool = replace(client(0, plan.topology.names("cloud")[0], np.arange(len(data.train), dtype=np.int64)), parts=None)
    wire = Wire({name: getattr(scenario.codec, name) for name in type(scenario.codec).model_fields}, streams)
    network, radio = Network(env, plan.played, scenario.network, streams), None
    if plan.layout is not None and scenario.wireless is not None:
        radio = Radio(env, network, scenario.wireless, plan.layout, streams)
    return World(
        env,
        plan.topology,
        network,
        {name: Device(env, name, options, streams) for name, options in plan.devices.items()},
        clients,
        pool,
        model,
        executor,
        wire,
        recorder,
        _no_test if timing else Evaluation(model, executor, wire, clients, _server(plan), data),
        stop=scenario.stop,
        observer=observer,
        radio=radio,
        total_steps=scenario.protocol.steps(len(clients)),
    )
