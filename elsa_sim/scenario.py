"""The scenario: what a scenario file may say, validated as a whole, and written out again in full.

Every section is either fixed options or a choice among the registered kinds of a family, so a plugin's kinds are valid
like any other. ``load`` reads a file; what only building the world can find out is added by `Loaded.located`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, SerializeAsAny, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from . import scenario_file, validation
from .choices import any_of, key_of, renewed, with_choices
from .codecs.base import Codec
from .context import Context
from .devices import ClientOptions, CloudOptions, DevicesOptions, Downtime, EdgeOptions, Straggler
from .errors import Fault, InputFaults, ScenarioError
from .learning.backbone_options import BUILT_IN, BackboneOptions
from .learning.clustering.assign import Assigner
from .learning.conduct import UnreliableOptions
from .learning.partition import Iid, Partition
from .learning.splits.base import SplitPolicy
from .learning.splits.fixed import FixedSplit
from .learning.tasks.base import Task
from .learning.tasks.synthetic import Synthetic
from .links import LinkModel
from .network.options import NetworkOptions
from .plain_yaml import brief, write
from .privacy.options import PrivacyOptions
from .protocols.base import Protocol
from .registry import Component, Items, Options, discover, load_entry_points
from .scenario_file import Document, locate
from .streams import Streams
from .topology import LinkOptions, TopologyFile, TopologySource, Tree
from .units import Seconds
from .wireless import Allocator, Mobility, PathLoss, PowerControl, WirelessOptions

#: Packages whose modules define components.
PACKAGES = ("codecs", "learning.splits", "learning.tasks", "links", "protocols", "topology", "wireless")
_FILE_NAME = re.compile(r"\w(?:[\w .+=,@()-]{0,98}[\w.+=,@()-])?")


def _folder_name(value: str) -> str:
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(f"{brief(value)} cannot name a folder; valid: at most 100 letters, digits, spaces, . _ - + =")
    return value


class CodecOptions(Options):
    """What encodes each kind of message: codecs in the sender's order; the receiver reverses it."""

    activation: Items[tuple[SerializeAsAny[Codec], ...]] = ()
    """Hidden states at a cut, up and down."""
    gradient: Items[tuple[SerializeAsAny[Codec], ...]] = ()
    """Gradients at a cut, up and down."""
    adapters: Items[tuple[SerializeAsAny[Codec], ...]] = ()
    """Adapters on their way to and from an aggregation."""


class StopOptions(Options):
    """When a run ends before its protocol does: at the first of these."""

    rounds: int | None = Field(default=None, ge=1)
    """Rounds that are done."""
    target_accuracy: float | None = Field(default=None, ge=0.0, le=1.0)
    """Accuracy that an evaluation reaches."""
    sim_time: Seconds | None = None
    """Simulated time that has passed."""
    host_time: Seconds | None = None
    """Time that the run has taken on this machine; what it ends with is then not reproducible."""
    adapter_change: float | None = Field(default=None, gt=0.0)
    """||theta - theta before|| of the global adapters from one evaluation to the next that is less than this; not in
    timing mode, which has no adapters."""


class ExecutionOptions(Options):
    """How the tensor math is done on this machine."""

    mode: Literal["real", "timing"] = "real"
    """timing: shapes only, no arithmetic; the same timeline and bytes, no accuracy."""
    executor: Literal["batched", "serial"] = "batched"
    """When arithmetic runs: batched over all clients when a result is needed, or serial at the end of each piece of work
    (the reference). Timeline and bytes are the same, results up to rounding."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of the tensor library, in each worker."""
    workers: int = Field(default=1, ge=1, le=1024)
    """Processes that share the work of independent clients; with more than one, each holds a copy of the backbone."""
    cluster: Literal["local", "ray"] = "local"
    """Where workers are: on this machine, or on the Ray cluster that it belongs to (extra [ray])."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where tensors live."""


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
    """Clients that do not do what they should; by default none."""
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
    execution: ExecutionOptions = ExecutionOptions()
    """How the tensor math is done on this machine."""


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
    return validated(scenario_file.read(path), overrides, seed)


def examine(path: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> Loaded:
    """As :func:`load`, but a file with faults gives the scenario of its sound sections, so that they can be checked, too.

    Raises:
        ScenarioError: the file cannot be read at all.
    """
    return _examined(scenario_file.read(path), overrides, seed)


def validated(document: Document, overrides: Sequence[str] = (), seed: int | None = None) -> Loaded:
    """The scenario that ``document`` describes; see :func:`load`."""
    loaded = _examined(document, overrides, seed)
    if loaded.faults:
        raise ScenarioError(loaded.document.source, loaded.faults)
    return loaded


def _examined(document: Document, overrides: Sequence[str], seed: int | None) -> Loaded:
    document = _completed(document)
    for text in overrides:
        document = _completed(scenario_file.override(document, text))
    if seed is not None:
        document = document.changed(("seed",), seed, "--seed")
    if "name" not in document.data and ("name",) not in document.faulty:
        stem = re.sub(r"[^\w.+=,@()-]", "_", Path(document.source).stem)
        document = document.changed(("name",), stem if _FILE_NAME.fullmatch(stem) else "scenario", "the file's name")
    made, faults = validation.examine(scenario_type(), document)
    unsound = {fault.path.partition(".")[0] for fault in faults}
    if made is None:
        sound = {key: value for key, value in document.data.items() if key not in unsound}
        stand_in = {} if "protocol" in sound else {"protocol": {"kind": min(Protocol.members)}}
        unsound |= stand_in.keys()
        made, more = validation.examine(scenario_type(), replace(document, data=sound | stand_in, faults=()))
        if made is None:
            raise ScenarioError(document.source, [*faults, *more])
    return Loaded(made, document, tuple(faults), frozenset(unsound))


def _completed(document: Document) -> Document:
    """What may be left out is written out: the kind of a topology that names a file, the list around a single codec."""
    topology, codec = document.data.get("topology"), document.data.get("codec")
    if isinstance(topology, dict) and "file" in topology and "kind" not in topology:
        document = document.changed(("topology", "kind"), "file")
    if isinstance(codec, dict):
        for message, chain in codec.items():
            if isinstance(chain, dict | str) and message in CodecOptions.model_fields:
                document = document.wrapped(("codec", message))
    return document


def scenario_type() -> type[Scenario]:
    """The scenario model in which every family is a choice among the kinds that are registered now."""
    _discovered()
    return _scenario_type(tuple((family, *family.members.values()) for family in _families()))


@cache
def _discovered() -> None:
    for package in PACKAGES:
        discover(f"{__package__}.{package}")
    load_entry_points()


def _families() -> tuple[type[Component], ...]:
    return (Protocol, Task, Partition, TopologySource, SplitPolicy, Codec, LinkModel, *_NESTED)


#: Families that a scenario chooses from within a section.
_NESTED = (Straggler, Downtime, Mobility, PathLoss, Allocator, PowerControl, Assigner)


@cache
def _scenario_type(members: tuple[Any, ...]) -> type[Scenario]:
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
    roles: dict[str, type[Options]] = {"client": ClientOptions, "edge": EdgeOptions, "cloud": CloudOptions}
    return with_choices(
        Scenario,
        protocol=any_of(renewed(Protocol)),
        task=any_of(Task),
        partition=any_of(Partition),
        topology=any_of(TopologySource),
        split=any_of(SplitPolicy),
        codec=with_choices(CodecOptions, activation=chain, gradient=chain, adapters=chain),
        devices=with_choices(
            DevicesOptions,
            **{role: with_choices(kind, stragglers=slow, downtimes=away) for role, kind in roles.items()},
        ),
        network=with_choices(NetworkOptions, model=any_of(LinkModel)),
        wireless=air | None,
        privacy=with_choices(PrivacyOptions, under=Items[tuple[chain, ...]]) | None,
    )


def dump(loaded: Loaded) -> str:
    """The scenario as YAML that repeats the run from any folder: defaults written out, files by their absolute paths.

    A section that refuses options without effect is written as it was given.
    """
    data: dict[str, Any] = {}
    for name in Scenario.model_fields:
        section = getattr(loaded.scenario, name)
        if section is None:
            continue  # a section that is left out
        data[name] = _plain(section)
        data[name] = _files_absolute(data[name], loaded.context)
        if name == "backbone":
            data[name]["name"] = _folder_absolute(data[name]["name"], loaded.context)
        if isinstance(section, BaseModel):
            try:
                type(section).model_validate(data[name])
            except ValidationError:
                given = _plain(section, only_given=True)
                data[name] = {key: value for key, value in data[name].items() if key in given}
    return write(data)


#: Names of options that name a file, in whatever section.
_FILES = ("train", "test", "file", "trace")


def _files_absolute(value: Any, context: Context) -> Any:
    if isinstance(value, list):
        return [_files_absolute(item, context) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _file_absolute(item, context)
        if key in _FILES and isinstance(item, str)
        else _files_absolute(item, context)
        for key, item in value.items()
    }


def _file_absolute(path: str, context: Context) -> str:
    try:
        return str(context.file(path, ""))
    except InputFaults:
        return path


def _folder_absolute(path: str, context: Context) -> str:
    if path in (*BUILT_IN, "minilm"):
        return path
    for place in (Path(path), context.folder / path):
        try:
            if (place / "config.json").is_file():
                return str(place.resolve())
        except (OSError, ValueError):
            break
    return path  # a name on the hub


def _plain(value: Any, only_given: bool = False) -> Any:
    """Options as plain data, by the keys of a scenario file; null is left out where it is the default."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        names = sorted(fields, key=lambda name: name != "kind")
        given = {name: getattr(value, name) for name in names if not only_given or name in value.model_fields_set}
        return {
            fields[name].alias or name: _plain(each, only_given)
            for name, each in given.items()
            if each is not None or fields[name].default is not None
        }
    if isinstance(value, dict):
        return {key: _plain(each, only_given) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, only_given) for each in value]
    return value


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file, for editors."""
    made = scenario_type().model_json_schema(schema_generator=_WithUnits)
    definitions = made["$defs"]
    for family in _families():
        for member in family.members.values():
            name = f"{member.__module__}__{member.__qualname__}".replace(".", "__")  # where two have one class name
            definition = definitions.get(member.__name__) or definitions.get(name, {"required": []})
            if member is not TopologyFile:  # told by its key `file`
                definition["required"] = list(dict.fromkeys([key_of(family), *definition.get("required", ())]))
    for chain in definitions["CodecOptions"]["properties"].values():
        several = {key: chain.pop(key) for key in ("type", "items")}
        chain["anyOf"] = [several, several["items"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


class _WithUnits(GenerateJsonSchema):
    """The description of a field goes in front of that of its type, which tells the unit, instead of replacing it."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        made = super().generate_inner(schema)
        if schema["type"] == "model-field":
            unit = super().generate_inner(schema["schema"]).get("description")
            if unit and unit != made.get("description"):
                made["description"] = f"{made['description']} {unit[0].upper()}{unit[1:]}."
        return made
