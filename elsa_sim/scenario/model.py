"""The scenario: what a scenario file may say, validated as a whole.

Every section is either fixed options or a choice among the registered kinds of a family, so a plugin's kinds are valid
like any other. ``load`` reads a file; what only building the world can find out is added by `Loaded.located`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import AfterValidator, Field, SerializeAsAny, model_validator

from ..base.choices import any_of, renewed, with_choices
from ..base.context import Context
from ..base.errors import Fault, InputFaults, ScenarioError
from ..base.registry import Component, Items, Options, families
from ..base.streams import Streams
from ..base.units import MOST_COUNT, MOST_FACTOR, Seconds
from ..codecs.base import Codec
from ..devices import ClientOptions, CloudOptions, DevicesOptions, Downtime, EdgeOptions, NumberType, Straggler
from ..learning.backbone.options import BackboneOptions
from ..learning.misbehaviour.base import Misbehaviour
from ..learning.misbehaviour.options import UnreliableOptions
from ..learning.splits.base import SplitPolicy
from ..learning.splits.fixed import FixedSplit
from ..learning.tasks.base import Task
from ..learning.tasks.partition import Iid, Partition
from ..learning.tasks.synthetic import Synthetic
from ..links import LinkModel
from ..network.options import NetworkOptions
from ..privacy.base import PrivacyAttack
from ..privacy.options import PrivacyOptions
from ..protocols.base import Protocol
from ..topology import LinkOptions, TopologyFile, TopologySource, Tree
from ..transports import Transport
from ..wireless import Allocator, Mobility, PathLoss, PowerControl, WirelessOptions
from . import validation
from .adapter_options import AdapterOptions
from .checkpoint_options import CheckpointOptions
from .codec_options import CodecOptions, with_codecs, with_unsent
from .document import Document, locate, override
from .document import read as read_document
from .plugged import discovered, renew_drawables
from .shorthands import completed
from .yaml_reader import brief

#: Members of families that a scenario may state without their kind: told by a key (``file``), or the usual one.
UNNAMED: tuple[type[Component], ...] = (TopologyFile, type(NetworkOptions().transport))
_FILE_NAME = re.compile(r"\w(?:[\w .+=,@()-]{0,98}[\w.+=,@()-])?")


def _folder_name(value: str) -> str:
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(f"{brief(value)} cannot name a folder; valid: at most 100 letters, digits, spaces, . _ - + =")
    return value


class StopOptions(Options):
    """When a run ends before its protocol does: at the first of these."""

    rounds: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Rounds that are done."""
    target_accuracy: float | None = Field(default=None, ge=0.0, le=1.0)
    """Accuracy that an evaluation reaches."""
    sim_time: Seconds | None = None
    """Simulated time that has passed."""
    host_time: Seconds | None = None
    """Time that the run has taken on this machine; what it ends with is then not reproducible."""
    adapter_change: float | None = Field(default=None, gt=0.0, le=MOST_FACTOR)
    """||theta - theta before|| of the global adapters from one evaluation to the next that is less than this; not in
    timing mode, which has no adapters."""


class ExecutionOptions(Options):
    """How the tensor math is done on this machine."""

    mode: Literal["real", "timing"] = "real"
    """timing: shapes only, no arithmetic; the same timeline and bytes, no accuracy."""
    executor: Literal["batched", "serial"] = "batched"
    """When arithmetic runs: batched over all clients when a result is needed, or serial at the end of each piece of work
    (the reference). Timeline and bytes are the same, results up to rounding."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What frozen linear layers multiply in; adapters, states between layers and the optimizer are float32. bfloat16 is quicker
    where the processor has it, and rounds; bytes, FLOPs and simulated time are the same."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of the tensor library, in each worker."""
    workers: int = Field(default=1, ge=1, le=1024)
    """Processes that share the work of independent clients; with more than one, each holds a copy of the backbone."""
    cluster: Literal["local", "ray"] = "local"
    """Where workers are: on this machine, or on the Ray cluster that it belongs to (extra [ray])."""
    worker_timeout: Seconds | None = Field(default=None, gt=0)
    """Host time that workers may take for their shares of work; a run with one that takes longer, or hangs, fails. By default
    any."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where tensors live."""

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        if self.mode == "timing" and self.precision != "float32":
            raise ValueError("precision has no effect in timing mode, which computes nothing; leave it out")
        return self


class Scenario(Options):
    """One run of elsa-sim: a network, its devices, a task, a backbone, and the protocol that trains it."""

    name: Annotated[str, AfterValidator(_folder_name)] = "scenario"
    """Name of the run; by default that of the file."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Everything random follows from it."""
    protocol: SerializeAsAny[Protocol]
    """The training system."""
    backbone: BackboneOptions = BackboneOptions()
    """The frozen transformer and its adapters."""
    task: SerializeAsAny[Task] = Synthetic()
    """The data, and what is learned from them."""
    partition: SerializeAsAny[Partition] = Iid()
    """How the training samples are dealt to the clients."""
    topology: SerializeAsAny[TopologySource] = Tree(
        clients=8,
        edges=2,
        access=LinkOptions(up=20e6, down=50e6, latency=0.01),
        backhaul=LinkOptions(up=200e6, down=200e6, latency=0.005),
    )
    """The network: nodes and links."""
    devices: DevicesOptions = DevicesOptions()
    """How fast the nodes compute, their memory and power."""
    unreliable: UnreliableOptions | None = None
    """Misbehaving (Byzantine) clients; by default none."""
    split: SerializeAsAny[SplitPolicy] = FixedSplit()
    """Which layers stay on a client."""
    codec: CodecOptions = CodecOptions()
    """What compresses or hides the messages."""
    network: NetworkOptions = NetworkOptions()
    """How messages share the network."""
    wireless: WirelessOptions | None = None
    """Clients on the air: rates from distance, fading and subchannels; by default all access links are wires."""
    stop: StopOptions = StopOptions()
    """When to end early."""
    privacy: PrivacyOptions | None = None
    """What an edge server can learn from what crosses the first cut, measured at the end; left out by default."""
    adapters: AdapterOptions = AdapterOptions()
    """Which trained adapters are kept."""
    checkpoint: CheckpointOptions = CheckpointOptions()
    """How often a run writes down what `elsa-sim resume` goes on from."""
    execution: ExecutionOptions = ExecutionOptions()
    """How the tensor math is done on this machine."""

    @property
    def number_type(self) -> NumberType:
        """What simulated devices compute in, which decides which of several speeds counts."""
        return self.backbone.dtype


@dataclass(frozen=True)
class Loaded:
    """A scenario together with the document it was read from."""

    scenario: Scenario
    document: Document = field(default_factory=Document)
    faults: tuple[Fault, ...] = ()
    """What the document has wrong; only :func:`examine` gives a scenario that has any."""
    unsound: frozenset[str] = frozenset()
    """The sections that are wrong; the scenario has their defaults instead."""

    @property
    def context(self) -> Context:
        """What sections may use while they are built."""
        return Context(Streams(self.scenario.seed), self.document.folder)

    def located(self, faults: Iterable[Fault] | InputFaults, section: str) -> list[Fault]:
        """Faults of building ``section``, with full key paths and lines."""
        return locate(faults.faults if isinstance(faults, InputFaults) else faults, section, self.document)


def load(path: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> Loaded:
    """The scenario in the file ``path``, changed by ``--set`` texts and by ``--seed``.

    Raises:
        ScenarioError: the file cannot be used; all its faults.
    """
    return validated(read_document(path), overrides, seed)


def examine(path: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> Loaded:
    """As :func:`load`, but a file with faults gives the scenario of its sound sections, so that they can be checked, too.

    Raises:
        ScenarioError: the file cannot be read at all.
    """
    return examined(read_document(path), overrides, seed)


def validated(document: Document, overrides: Sequence[str] = (), seed: int | None = None) -> Loaded:
    """The scenario that ``document`` describes; see :func:`load`."""
    loaded = examined(document, overrides, seed)
    if loaded.faults:
        raise ScenarioError(loaded.document.source, loaded.faults)
    return loaded


def examined(document: Document, overrides: Sequence[str] = (), seed: int | None = None) -> Loaded:
    """As :func:`examine`, of a document that was read."""
    for text in ("", *overrides):
        document = completed(override(document, text) if text else document)
    if seed is not None:
        document = document.changed(("seed",), seed, "--seed")
    if "name" not in document.data and ("name",) not in document.faulty:
        stem = re.sub(r"[^\w.+=,@()-]", "_", Path(document.source).stem)
        document = document.changed(("name",), stem if _FILE_NAME.fullmatch(stem) else "scenario", "the file's name")
    made, faults = validation.examine(scenario_type(), document)
    unsound = {fault.path.partition(".")[0] for fault in faults}
    if made is None:
        sound = {key: value for key, value in document.data.items() if key not in unsound}
        stand_in: dict[str, Any] = {} if "protocol" in sound else {"protocol": {"kind": min(Protocol.members)}}
        unsound |= stand_in.keys()
        stand_in |= _mode(document)
        made, more = validation.examine(scenario_type(), replace(document, data=sound | stand_in, faults=()))
        if made is None:
            raise ScenarioError(document.source, [*faults, *more])
    faults = with_unsent(faults, document, None if "protocol" in unsound else made.protocol)
    unsound |= {fault.path.partition(".")[0] for fault in faults}
    return Loaded(made, document, tuple(faults), frozenset(unsound))


def _mode(document: Document) -> dict[str, Any]:
    """Much is right or wrong by the mode, so it stays where ``execution`` is faulty otherwise."""
    execution = document.data.get("execution")
    timing = isinstance(execution, dict) and execution.get("mode") == "timing"
    return {"execution": {"mode": "timing"}} if timing else {}


def scenario_type() -> type[Scenario]:
    """The scenario model in which every family is a choice among the kinds that are registered now."""
    discovered()
    return _scenario_type(tuple((family, *family.members.values()) for family in families().values()))


@cache
def _scenario_type(members: tuple[Any, ...]) -> type[Scenario]:
    renew_drawables()
    chain: Any = Items[tuple[any_of(Codec), ...]]  # type: ignore[misc]
    slow: Any = Items[tuple[any_of(Straggler), ...]]  # type: ignore[misc]
    away: Any = Items[tuple[any_of(Downtime), ...]]  # type: ignore[misc]
    air: Any = with_choices(
        WirelessOptions,
        mobility=any_of(Mobility),
        path_loss=any_of(PathLoss),
        allocator=any_of(Allocator),
        power_control=any_of(PowerControl),
    )
    attacks: Any = Annotated[Items[tuple[any_of(Misbehaviour), ...]], Len(min_length=1)]  # type: ignore[misc]
    spying: Any = Annotated[Items[tuple[any_of(PrivacyAttack), ...]], Len(min_length=1)]  # type: ignore[misc]
    named: Any = dict[str, any_of(Misbehaviour)]  # type: ignore[misc]
    roles: dict[str, type[Options]] = {"client": ClientOptions, "edge": EdgeOptions, "cloud": CloudOptions}
    return with_choices(
        Scenario,
        protocol=any_of(renewed(Protocol)),
        task=any_of(Task),
        partition=any_of(Partition),
        topology=any_of(TopologySource),
        split=any_of(SplitPolicy),
        codec=with_codecs(),
        devices=with_choices(
            DevicesOptions,
            **{role: with_choices(kind, stragglers=slow, downtimes=away) for role, kind in roles.items()},
        ),
        network=with_choices(NetworkOptions, model=any_of(LinkModel), transport=any_of(Transport)),
        wireless=air | None,
        unreliable=with_choices(UnreliableOptions, kinds=attacks, clients=named) | None,
        privacy=with_choices(PrivacyOptions, under=Items[tuple[chain, ...]], attacks=spying) | None,
    )
