"""Architectures by name, without weights: what timing mode needs of a model, for models that no machine here could hold.

``catalogue.json`` has for each its id at the Hugging Face hub, where the configuration was published, the fields of it that make
shapes, and the number of parameters: of an encoder without a head, of a decoder as a language model. ``verified`` says that the
published number is known to the last digit; a test counts what the configuration makes. ``missing`` is what stands in the way of an
architecture that cannot be cut yet. Configurations were written down, not downloaded; a folder with a model's own
``config.json`` is as good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One architecture."""

    hub: str
    """Id of the model at the Hugging Face hub."""
    parameters: int
    """Published number of parameters."""
    config: Mapping[str, Any]
    """Its configuration, as transformers names the fields, ``model_type`` among them."""
    verified: bool
    """Whether the number is known to the last digit."""
    note: str = ""
    """What the number is of, where that is not plain."""
    missing: str = ""
    """Why it cannot be used; empty: it can."""


@cache
def entries() -> Mapping[str, Entry]:
    """All of them, by name."""
    text = files(__package__).joinpath("catalogue.json").read_text(encoding="utf-8")
    return {name: Entry(**fields) for name, fields in json.loads(text).items()}


def told(entry: Entry) -> str:
    """An entry in words: family, parameters, layers, width."""
    config = entry.config
    layers, width = (next(config[key] for key in keys if key in config) for keys in (
        ("num_hidden_layers", "n_layers", "n_layer"), ("hidden_size", "dim", "n_embd")))  # fmt: skip
    count = entry.parameters
    size = f"{count / 1e9:.3g} billion" if count >= 1e9 else f"{count / 1e6:.4g} million"
    about = "" if entry.verified else "about "
    which = f" ({entry.note})" if entry.note else ""
    text = f"{config['model_type']}, {about}{size} parameters{which}, {layers} layers, width {width}"
    return f"{text}; {entry.missing}" if entry.missing else f"{text}; timing mode (weights: {entry.hub})"
