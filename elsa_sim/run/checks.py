"""From a scenario to its plan: every section is built but for weights, and what is wrong with any is told at once.

Nothing here needs the tensor library. Tested in tests/run/test_builder.py and tests/run/test_fuzz_check.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..base.context import Context
from ..base.errors import Fault, InputFaults, ScenarioError
from ..devices import DeviceOptions
from ..learning.backbone.configuration import unheeded
from ..learning.backbone.memory import Outline
from ..learning.backbone.options import Source, locate
from ..learning.misbehaviour.base import Misbehaviour
from ..learning.splits.base import Cut
from ..learning.tasks.base import Split, Texts
from ..protocols.base import Protocol
from ..scenario.given import Given, loaded_from
from ..scenario.model import Scenario
from ..scenario.validation import in_order
from ..topology import Topology
from . import codec_faults, durations, effects, memory
from .cost_inputs import Needs, needs, radio_of, resources, set_demands, unheard
from .inputs import drawn_of, note_plugins, texts_of, vocabulary_of

if TYPE_CHECKING:
    from ..wireless import Layout

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a scenario describes, built but for weights and token ids: enough to know that it can run."""

    scenario: Scenario
    context: Context
    topology: Topology
    devices: Mapping[str, DeviceOptions]
    source: Source
    cuts: Mapping[str, Cut] | None
    texts: Texts
    samples: Sequence[npt.NDArray[np.int64]]
    edge_of: Mapping[str, str]
    unreliable: Mapping[str, Misbehaviour]
    outline: Outline
    needs: Mapping[str | None, Needs]
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    """What a user may not expect of the run."""

    @property
    def trainers(self) -> tuple[str, ...]:
        """The clients that are to train."""
        return self.topology.names("client") if self.scenario.protocol.pattern.trained_at("client") else ()

    @property
    def played(self) -> Topology:
        """The topology that messages cross: with a link from each wireless client to each station."""
        return self.topology if self.layout is None else self.layout.extended

    def outline_with(self, vocabulary: int) -> Outline:
        """``outline`` with the size of the run's own vocabulary; one that is learned may be smaller than was to be expected."""
        return _sizes(self.scenario, self.source, self.texts, vocabulary)


def check(scenario: Given, overrides: Sequence[str] = ()) -> Plan:
    """Build every section of a scenario, given as for `elsa_sim.run`; reads no weights.

    A section that its file already shows to be wrong is not built, nor is what depends on it.

    Raises:
        ScenarioError: all faults of all sections.
    """
    loaded = loaded_from(scenario, overrides)
    scenario, context = loaded.scenario, loaded.context
    faults = list(loaded.faults)

    def attempt(section: str, make: Callable[[], T], *others: object) -> T | None:
        """What ``make`` gives, where it can be made: the section has no fault yet, and ``others`` are there."""
        if section in loaded.unsound or any(other is None for other in others):
            return None
        try:
            return make()
        except InputFaults as error:
            faults.extend(loaded.located(error, section))
            return None

    protocol = None if "protocol" in loaded.unsound else scenario.protocol
    topology = attempt("topology", lambda: scenario.topology.build(context))
    if topology is not None:
        faults.extend(loaded.located(_lacking(topology, protocol), "topology"))
    devices = attempt("devices", lambda: scenario.devices.of(_is(topology), context, scenario.number_type), topology)
    attempt("network", lambda: scenario.network.check(_is(topology)), topology)
    unreliable = attempt("unreliable", lambda: _unreliable(scenario, _is(topology), context), topology)
    layout, wireless = None, scenario.wireless
    if wireless is not None:
        layout = attempt("wireless", lambda: wireless.layout(_is(topology), context.streams), topology)
    source = attempt("backbone", lambda: locate(scenario.backbone, context))
    for section, fault in effects.of_sections(scenario, protocol) if protocol is not None else ():
        if section not in loaded.unsound:
            faults.extend(loaded.located([fault], section))
    if protocol is not None and protocol.pattern.split:
        attempt("split", lambda: scenario.split.check(_is(source).layers, scenario.protocol.pattern), source)
    texts = attempt("task", lambda: texts_of(scenario, context))
    known = scenario if texts is None else scenario.model_copy(update={"task": scenario.task.within(texts)})
    samples: Any = None
    if texts is not None and topology is not None and topology.names("client"):
        count = len(topology.names("client"))
        rng = context.streams.numpy("partition")
        samples = attempt("partition", lambda: scenario.partition.split(_outline(texts), count, rng))
    vocabulary = attempt("backbone", lambda: vocabulary_of(scenario, _is(source), _is(texts), context), source, texts)
    drawn = attempt("backbone", lambda: drawn_of(scenario, _is(source), _is(texts), context), source, texts)
    attempt("task", lambda: scenario.task.fits(_is(vocabulary).special, _is(source).architecture.longest), vocabulary)
    if scenario.privacy is not None and not {"privacy", "protocol", "task"} & set(loaded.unsound):
        faults.extend(loaded.located(codec_faults.of_privacy(scenario, scenario.privacy), "privacy"))
    if "codec" not in loaded.unsound:
        faults.extend(loaded.located(codec_faults.of_chains(scenario), "codec"))
    if source is not None and not {"codec", "privacy"} & set(loaded.unsound):
        for section, fault in codec_faults.of_widths(scenario, source.architecture.hidden):
            faults.extend(loaded.located([fault], section))
    edge_of = nearest(topology) if topology is not None and topology.names("cloud") else {}
    if topology is not None and protocol is not None and "task" not in loaded.unsound:
        faults.extend(loaded.located(protocol.faults(topology, scenario.task), "protocol"))
    if topology is not None and protocol is not None and edge_of:
        faults.extend(loaded.located(protocol.aggregation_faults(edge_of, topology.cloud), "protocol"))
        timing = scenario.execution.mode == "timing"
        faults.extend(loaded.located(protocol.selection_faults(edge_of, topology.cloud, timing=timing), "protocol"))
        faults.extend(loaded.located(effects.of_waiting(protocol, edge_of, topology.cloud), "protocol"))
    if layout is not None and not faults:
        found = unheard(scenario, layout, context.streams)
        faults.extend(loaded.located(found, "wireless"))
    cuts: dict[str, Cut] | None = None
    outline: Outline | None = None
    wanted: dict[str | None, Needs] = {}
    if source and texts and devices and topology and vocabulary and not faults:
        outline = _sizes(known, source, texts, vocabulary.size)
        server_of = memory.server_of(known.protocol, topology, edge_of)
        cutting = partial(_cut, known, outline, topology, devices, server_of, layout, context)
        cuts, wanted = attempt("split", cutting) or (None, {})
        if cuts:
            pairs = {(cut.p, cut.q) for cut in cuts.values()}
            faults.extend(loaded.located(known.protocol.cut_faults(pairs), "protocol"))
        if not faults:
            asked = memory.MemoryDemand(known, outline, source.layers, cuts, topology, edge_of).footprints()
            faults.extend(loaded.located(memory.too_large(asked, devices), "devices"))
            slow = durations.too_slow(known, outline, cuts, server_of, devices)
            faults.extend(loaded.located(slow, "devices"))
            if layout is not None:
                air = durations.too_long_on_the_air(known, layout, context.streams, wanted)
                faults.extend(loaded.located(air, "wireless"))
    if faults:
        raise ScenarioError(loaded.document.source, in_order(faults))
    try:
        note_plugins(known, context)
    except InputFaults as error:
        raise ScenarioError(loaded.document.source, error.faults) from None
    return Plan(
        known,
        context,
        _is(topology),
        _is(devices),
        _is(source),
        cuts,
        _is(texts),
        samples,
        edge_of,
        _is(unreliable),
        _is(outline),
        wanted,
        layout,
        (
            *scenario.protocol.notes(timing=scenario.execution.mode == "timing"),
            *_is(topology).notes,
            *(layout.notes if layout is not None else ()),
            *_is(texts).notes,
            *unheeded(_is(source).fields, scenario.backbone.dtype, scenario.backbone.quantize is not None),
            *_is(drawn),
            *effects.unlooked(scenario),
        ),
    )


def _is(value: T | None) -> T:
    """``value``, which is there."""
    assert value is not None
    return value


def nearest(topology: Topology) -> dict[str, str]:
    """Client -> its edge server: the one with the least latency, the first by name among equals."""
    edges = topology.names("edge") or topology.names("cloud")
    if len(edges) == 1:
        return dict.fromkeys(topology.names("client"), edges[0])
    return topology.nearest_of(topology.names("client"), edges)


#: How often cuts and rates of wireless clients are brought in line with each other, at most.
_PASSES = 5


def _cut(
    scenario: Scenario, outline: Outline, topology: Topology, devices: Mapping[str, DeviceOptions],
    server_of: Mapping[str, str], layout: Layout | None, context: Context,
) -> tuple[dict[str, Cut] | None, dict[str | None, Needs]]:  # fmt: skip
    """The cuts of all clients, and what wireless ones need; their subchannels depend on the cuts, and the other way round.

    Raises:
        InputFaults: there is no cut.
    """
    radio = None if layout is None else radio_of(scenario, layout, context.streams)
    clients = () if layout is None else layout.clients
    if not scenario.protocol.pattern.split:
        return None, {} if radio is None else needs(scenario, outline, devices, None, None, clients)
    cuts: dict[str, Cut] | None = None
    wanted: dict[str | None, Needs] = {}
    for _ in range(_PASSES):
        there = resources(scenario, outline, topology, devices, server_of, radio)
        before, cuts = cuts, scenario.split.cuts(there)
        if radio is None or cuts == before:
            break
        wireless = {name: cut for name, cut in cuts.items() if name in radio}
        wanted = needs(scenario, outline, devices, there, wireless, clients)
        set_demands(radio, wanted)
    return cuts, wanted


def _lacking(topology: Topology, protocol: Protocol | None) -> list[Fault]:
    faults = []
    if not topology.names("client"):
        faults.append(Fault("", "there is no client; give at least one node the role client"))
    if protocol is not None and protocol.needs_edge_servers and not topology.names("edge"):
        what = f"protocol {protocol.kind} needs an edge server"
        faults.append(Fault("", f"{what}; give at least one node the role edge"))
    return faults


def _unreliable(scenario: Scenario, topology: Topology, context: Context) -> dict[str, Misbehaviour]:
    if scenario.unreliable is None:
        return {}
    found = scenario.unreliable.of(topology.names("client"), context.streams)
    if not found and scenario.unreliable.share > 0:
        clients = len(topology.names("client"))
        raise InputFaults([Fault("share", f"{scenario.unreliable.share:g} of {clients} clients is nobody")])
    relabel = sorted({each.kind for each in found.values() if each.relabels})
    if relabel and scenario.task.objective == "causal_lm":
        every = sorted(Misbehaviour.members.items())
        valid = [kind for kind, each in every if issubclass(each, Misbehaviour) and not each.relabels]
        fault = f"{relabel[0]} needs class labels; valid with causal_lm: {', '.join(valid)}"
        raise InputFaults([Fault("kinds", fault)])
    return found


def _sizes(scenario: Scenario, source: Source, texts: Texts, vocabulary: int) -> Outline:
    return Outline.of(
        source,
        scenario.backbone.lora,
        causal_lm=scenario.task.objective == "causal_lm",
        labels=max(len(texts.labels), 2),
        vocabulary=vocabulary,
        numbers=scenario.backbone.numbers,
    )


def _outline(texts: Texts) -> Split:
    """Labels and columns of the training texts, as a partition looks at them."""
    count = len(texts.train)
    empty = np.zeros(0, dtype=np.int32)
    return Split(empty, np.zeros(count + 1, dtype=np.int64), texts.train.labels, texts.train.columns)
