"""Which transformer is fine-tuned, where it is cut, and which adapters it gets: options and shapes, no weights.

Nothing here imports the tensor library, so a scenario can be checked quickly.

Tested in tests/learning/backbone/test_model.py and tests/learning/backbone/test_architecture.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ...base.context import Context
from ...base.errors import Fault, InputFaults
from ...base.registry import Items, Options
from ...base.units import MOST_FACTOR
from .architecture import DECODERS as DECODERS
from .architecture import ENCODERS as ENCODERS
from .architecture import Architecture, architecture, merged
from .configuration import BUILT_IN, change_fault, configuration_of, entry_of, first_line, folder_of, way_out
from .families import FAMILIES
from .numbers import DType, Numbers, Quantized

#: What peft calls the description of adapters.
ADAPTER_CONFIG = "adapter_config.json"


class LoraOptions(Options):
    """Low-rank adapters (Hu et al., arXiv:2106.09685), made by peft: W x + (alpha / rank) B A x."""

    rank: int = Field(8, ge=1, le=1024)
    """Rank r of A [r, in] and B [out, r]."""
    alpha: float = Field(16.0, gt=0, le=MOST_FACTOR)
    """Scale: the update is multiplied by alpha / rank."""
    targets: Items[tuple[str, ...]] | None = None
    """Names of the linear modules that get adapters, such as [query, value]; default: peft's choice for the family."""


class BackboneOptions(Options):
    """The frozen transformer and its adapters."""

    name: str = Field("tiny-bert", min_length=1)
    """tiny-bert, tiny-gpt2, tiny-llama (random), minilm (extra [pretrained]), a folder, or a hub id; in timing mode also an
    architecture of the catalogue, such as llama-3.1-8b (`elsa-sim list backbones`)."""
    lora: LoraOptions = LoraOptions()
    """Low-rank adapters."""
    weights: Literal["auto", "random"] = "auto"
    """random: take only the architecture of the folder or hub id, and initialise it from the seed."""
    config: dict[str, int | float | str | bool] = Field(default_factory=dict)
    """Fields of the transformers configuration to change in a randomly initialised backbone, e.g. {n_layer: 12}."""
    adapters: str | None = Field(None, min_length=1)
    """Folder of adapters to start from, as peft saves them, such as RUN_DIR/adapters; default: fresh ones."""
    dtype: DType = "float32"
    """Type of frozen weights, states and their gradients; adapters, class head and optimizer are float32."""
    quantize: Quantized | None = None
    """Fewer bits for frozen weights of linear layers (int8: a scale per row; nf4: 4 bits, one per 64); products are of dtype."""
    gradient_checkpointing: bool = False
    """Keep only what enters each layer, and compute the layer again on the way back: less memory, more FLOPs."""

    @property
    def numbers(self) -> Numbers:
        """What its numbers are."""
        return Numbers(self.dtype, self.quantize, self.gradient_checkpointing)


@dataclass(frozen=True)
class Part:
    """A run of consecutive layers [start, stop), with the embeddings (``first``) or the head (``last``)."""

    name: str
    start: int
    stop: int
    first: bool = False
    last: bool = False


def three_parts(layers: int, p: int, q: int) -> tuple[Part, Part, Part]:
    """Parts 1 and 3 for the client and Part 2 for its server; 0 <= p, 0 <= q, p + q < layers."""
    if min(p, q) < 0 or p + q >= layers:
        raise ValueError(f"cannot cut {layers} layers at p = {p}, q = {q}")
    return (
        Part("part1", 0, p, first=True),
        Part("part2", p, layers - q),
        Part("part3", layers - q, layers, last=True),
    )


def two_parts(layers: int, p: int) -> tuple[Part, Part]:
    """Part 1 for the client, and the rest with the head for its server; 0 <= p < layers."""
    return three_parts(layers, p, 0)[0], Part("part2", p, layers, last=True)


def whole(layers: int) -> Part:
    """The unsplit model."""
    return Part("model", 0, layers, first=True, last=True)


@dataclass(frozen=True)
class Source:
    """Where a backbone comes from: its shape, and the folder or hub id of its weights and of its tokenizer."""

    architecture: Architecture
    location: str | None
    tokenizer: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Its configuration, as transformers names the fields."""
    adapters: Path | None = None
    """The folder of the adapters that training starts from; ``None``: fresh ones."""
    hub: str | None = None
    """Hub id of an architecture of the catalogue, of which there are neither weights nor a tokenizer; ``None``: it is no such."""

    @property
    def layers(self) -> int:
        """Number of transformer layers L."""
        return self.architecture.layers

    @property
    def config(self) -> Any:
        """A new transformers configuration.

        Raises:
            InputFaults: transformers refuses it.
        """
        from transformers import AutoConfig
        from transformers.utils import logging

        logging.set_verbosity_error()  # its notices (a fresh class head, ...) are what this program does on purpose
        logging.disable_progress_bar()
        try:
            return type(AutoConfig.for_model(self.architecture.family)).from_dict(dict(self.fields))
        except Exception as error:  # a malformed configuration fails in as many ways as there are fields
            raise InputFaults([Fault("name", f"its configuration cannot be used: {first_line(error)}")]) from None


def locate(options: BackboneOptions, context: Context) -> Source:
    """Read the configuration of the backbone that ``options`` name.

    Raises:
        InputFaults: there is no such backbone, its package is missing, its family is not supported, a changed
            configuration field does not exist, its configuration makes no model, or there is no place for adapters.
    """
    folder, entry = None, None
    if options.name in BUILT_IN:
        family, fields = BUILT_IN[options.name]
    else:
        folder = folder_of(options.name, context)
        entry = entry_of(options.name, folder)
        fields = dict(entry.config) if entry is not None else configuration_of(options.name, folder, context)
        folder = None if entry is not None else folder
        family = fields.get("model_type")  # type: ignore[assignment]
    if entry is not None and entry.missing:
        raise InputFaults([Fault("name", f"{options.name!r} is in the catalogue, but {entry.missing}")])
    if family not in (*ENCODERS, *DECODERS):
        raise InputFaults([Fault("name", f"{options.name!r} is of the family {family}; {way_out(fields)}")])
    location = folder if options.weights == "auto" else None
    if options.config and location is not None:
        raise InputFaults([Fault("config", "only a randomly initialised backbone can be changed; add weights: random")])
    shape: Architecture | None = None
    faults: list[Fault] = []
    try:
        shape = architecture(family, fields, options.config)
    except InputFaults as error:
        faults += error.faults
    source = None
    if shape is not None:
        hub = None if entry is None else entry.hub
        source = Source(shape, location, folder, merged(family, fields, options.config), hub=hub)
    faults += [fault for key in options.config if (fault := change_fault(family, key))]
    if source is not None:
        faults += _target_faults(source.architecture, options.lora)
        try:
            source = replace(source, adapters=adapters_folder(options, context))
        except InputFaults as error:
            faults += error.faults
    if faults or source is None:
        raise InputFaults(faults)
    return source


def adapted(shape: Architecture, lora: LoraOptions) -> tuple[str, ...]:
    """Names of the linear modules that get adapters."""
    return FAMILIES[shape.family].targets if lora.targets is None else lora.targets


def _target_faults(shape: Architecture, lora: LoraOptions) -> list[Fault]:
    names = sorted({name for name, *_ in shape.linear()})
    wrong = [name for name in adapted(shape, lora) if name not in names]
    if not wrong and adapted(shape, lora):
        return []
    what = f"no linear module named {', '.join(map(repr, wrong))} in its layers" if wrong else "names no module"
    return [Fault("lora.targets", f"{what}; valid: {', '.join(names)}")]


def adapters_folder(options: BackboneOptions, context: Context) -> Path | None:
    """The folder that ``options.adapters`` names, absolute; ``None`` if it names none.

    Raises:
        InputFaults: (at ``adapters``) it holds no adapters.
    """
    if options.adapters is None:
        return None
    try:
        return context.file(f"{options.adapters}/{ADAPTER_CONFIG}", "adapters").parent
    except InputFaults as error:
        try:
            inside = context.file(f"{options.adapters}/adapters/{ADAPTER_CONFIG}", "adapters").parent
        except InputFaults:
            raise error from None
        raise InputFaults([Fault("adapters", f"{error.faults[0].message}; did you mean {inside}?")]) from None
