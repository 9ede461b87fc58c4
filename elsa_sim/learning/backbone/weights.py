"""What a checkpoint's files of weights hold, told from their headers: no tensor library, no weights are read.

A run loads ``model.safetensors``, or the shards that ``model.safetensors.index.json`` names. Their headers say which
tensors there are, and how large: enough to know that the model can be loaded, and what of it will be drawn at random.

Does not model: other formats, quantised weights, adapters in the place of a model. Weights of the hub that are not in the
local cache are not asked for before the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...base import files
from ...base.errors import Fault, InputFaults
from ...base.files import Unreadable
from . import tensors
from .options import Source
from .places import cached

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
#: Files that transformers may read when it makes a tokenizer.
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
             "vocab.json", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")  # fmt: skip
_MOST_INDEX = 64 * 2**20
_FLOATS = {"F64", "F32", "F16", "BF16"}


def tokenizer_files(source: Source) -> dict[str, Path]:
    """The files of a backbone's configuration and tokenizer that are there, by their names."""
    if source.tokenizer is None:
        return {}
    named = ((name, cached(source.tokenizer, name)) for name in ("config.json", *TOKENIZER))
    return {name: path for name, path in named if path is not None}


def weight_files(source: Source) -> dict[str, Path]:
    """The files of the weights that a run loads, by their names.

    Raises:
        InputFaults: (at ``name``) there are none, or their index cannot be read or names files that are not there.
    """
    return {} if source.location is None else _Weights(source.location).paths


def examine(source: Source, *, causal_lm: bool, labels: Sequence[str]) -> tuple[str, ...]:
    """Notes on what will be drawn at random, where the weights of a backbone fit its configuration.

    ``labels`` are the names of the classes, in order.

    Raises:
        InputFaults: (at ``name``) files of weights that are missing or damaged, that lack tensors of the model, or have
            them in other shapes.
    """
    if source.location is None:
        return ()
    found = _Weights(source.location)
    if not found.paths:
        return (f"the weights of {source.location} are not in the local cache; the run will ask the hub for them",)
    found.open()
    shape, count = source.architecture, max(len(labels), 2)
    needed = tensors.body(shape) | (tensors.language_head(shape) if causal_lm else {})
    found.require(needed, tensors.prefix(shape.family))
    return () if causal_lm else tuple(_drawn(source, found, count, labels))


def _drawn(source: Source, found: _Weights, count: int, labels: Sequence[str]) -> Iterator[str]:
    """What of the head is not the checkpoint's, or may not be what it was."""
    shape = source.architecture
    head = tensors.class_head(shape, count)
    rows = tensors.class_rows(shape)
    found.require({name: size for name, size in head.items() if name in found.shapes and name not in rows}, "")
    other = [found.shapes[name] for name in rows if found.shapes.get(name, head[name]) != head[name]]
    if other:
        had = f"{other[0][0]} classes, the task {count}" if other[0][1:] == head[rows[0]][1:] else "another shape"
        yield f"the checkpoint's class head has {had}: a fresh head is drawn from the seed"
    elif any(name not in found.shapes for name in head):
        yield "the checkpoint has no class head for this task: a fresh one is drawn from the seed"
    elif told := _renamed(source.fields, labels):
        yield told
    if any(f"{tensors.prefix(shape.family)}{name}" not in found.shapes and name not in found.shapes
           for name in tensors.pooler(shape)):  # fmt: skip
        yield "the checkpoint has no pooler: its class head sees states through a fresh one, drawn from the seed and frozen"


def _renamed(fields: Mapping[str, object], labels: Sequence[str]) -> str | None:
    """Where the checkpoint's head is kept: its classes, if they have other names, or another order, than the task's."""
    names = fields.get("id2label")
    if not isinstance(names, dict):
        return None
    theirs = [str(names.get(str(i), "")) for i in range(len(labels))]
    if theirs == [f"LABEL_{i}" for i in range(len(labels))] or [n.lower() for n in theirs] == [
        n.lower() for n in labels
    ]:
        return None
    shown = [", ".join(map(repr, each[:6])) + (", ..." if len(each) > 6 else "") for each in (theirs, list(labels))]
    return f"the checkpoint's class head is kept; its classes are {shown[0]}, in their places are {shown[1]}"


class _Weights:
    """The files of weights of a folder, or of a model of the hub in the local cache, and their tensors' shapes."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.paths: dict[str, Path] = {}
        self.shapes: dict[str, tensors.Shape] = {}
        self._types: dict[str, str] = {}
        for file in (SINGLE, INDEX):
            if (path := cached(place, file)) is not None:
                self.paths[file] = path
                break
        else:
            if Path(place).is_dir():
                more = "adapters need the model that they belong to; " if cached(place, "adapter_config.json") else ""
                message = (
                    f"weights of {place!r} cannot be loaded from safetensors: {more}there is no {SINGLE} or {INDEX}"
                )
                raise InputFaults([Fault("name", message)])
            self._ask()
            return
        if cached(place, "adapter_config.json") is not None:
            message = f"{place} holds adapters (adapter_config.json); name a folder with a whole model"
            raise InputFaults([Fault("name", message)])
        if INDEX in self.paths:
            self._find_shards()

    def _fail(self, file: str, why: object) -> InputFaults:
        message = f"weights of {self.place!r} cannot be loaded from safetensors: {file} {why}"
        return InputFaults([Fault("name", message)])

    def _find_shards(self) -> None:
        try:
            index = json.loads(files.read(self.paths[INDEX], _MOST_INDEX))
            names = set(index["weight_map"].values())
            if not isinstance(index["metadata"], dict) or not all(isinstance(name, str) for name in names) or not names:
                raise ValueError
        except Unreadable as why:
            raise self._fail(INDEX, why) from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise self._fail(INDEX, "has no mapping weight_map from tensors to files beside metadata") from None
        faults: list[Fault] = []
        for name in sorted(names):
            path = cached(self.place, name)
            if path is not None:
                self.paths[name] = path
            else:
                faults += self._fail(name, f"is named by {INDEX}, and is not there").faults
        if faults and Path(self.place).is_dir():
            raise InputFaults(faults)
        if faults:
            self.paths = {}
            self._ask()

    def _ask(self) -> None:
        """Raise if a run could not ask the hub for what the local cache lacks."""
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            what = f"weights of {self.place!r} are not in the local cache, and HF_HUB_OFFLINE is set"
            raise InputFaults([Fault("name", what)])

    def open(self) -> None:
        """Read the headers of all files."""
        for file in self.paths:
            if file != INDEX:
                self._open(file)

    def _open(self, file: str) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            files.version(self.paths[file])
            with safe_open(self.paths[file], framework="numpy") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    part = opened.get_slice(name)
                    self.shapes[_modern(name)] = tuple(part.get_shape())
                    self._types[_modern(name)] = part.get_dtype()
        except Unreadable as why:
            raise self._fail(file, why) from None
        except (OSError, ValueError, SafetensorError) as error:
            raise self._fail(file, f"cannot be opened: {str(error).partition(chr(10))[0][:200]}") from None

    def require(self, needed: Mapping[str, tensors.Shape], prefix: str) -> None:
        """Raise if one of the ``needed`` tensors, with ``prefix`` or without, is not there or has another shape."""
        lacking, faults = [], []
        for name, size in needed.items():
            whole = prefix + name if not name.startswith("lm_head.") else name
            held = whole if whole in self.shapes else name
            if held not in self.shapes:
                lacking.append(whole)
            elif self.shapes[held] != size:
                what = f"{list(self.shapes[held])}, and its config.json makes it {list(size)}"
                faults.append(Fault("name", f"weights of {self.place!r} have {held} as {what}"))
            elif self._types[held] not in _FLOATS:
                what = f"{self._types[held]}; floating point numbers are needed"
                faults.append(Fault("name", f"weights of {self.place!r} have {held} as {what}"))
        if faults:
            raise InputFaults(faults[:1])  # what is wrong with one is wrong with many
        if lacking:
            what = f"weights of {self.place!r} lack {len(lacking)} tensors of the model, such as {sorted(lacking)[0]}"
            raise InputFaults([Fault("name", what)])


def _modern(name: str) -> str:
    """The name of a tensor as it is written today.

    Old files of BERT call a norm's weight gamma and its bias beta; those of GPT-NeoX call the head embed_out.
    """
    name = re.sub(r"^embed_out\.", "lm_head.", name)
    return re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda old: {"gamma": "weight", "beta": "bias"}[old[0]], name)
