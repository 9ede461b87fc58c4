"""Adapters to start from: whether a folder that peft wrote holds what the scenario asks for, told from headers alone.

A folder has ``adapter_config.json`` and ``adapter_model.safetensors``; a run's own has ``backbone/`` beside them where the frozen
weights were drawn from a seed. Only LoRA as the scenario can state it is taken: one rank and one alpha, no biases, no DoRA.
No tensor library is needed, and no values are read.

Does not model: adapters of the hub (download them), pickled ones, several adapters in one folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...base import files
from ...base.errors import Fault, InputFaults
from . import tensors
from .architecture import Architecture
from .configuration import MOST_JSON
from .families import FAMILIES
from .options import ADAPTER_CONFIG, LoraOptions, Source, adapted

VALUES = "adapter_model.safetensors"
#: Where a run keeps the frozen weights of a backbone that was drawn from its seed, and their file there.
FROZEN = "backbone/model.safetensors"
#: The folder of a run directory that has all of its adapters.
_ROOT = "adapters"
#: What peft puts before the names of a model's modules.
PEFT = "base_model.model."
_FLOATS = {"F64", "F32", "F16", "BF16"}
#: Settings of peft that change what adapters compute, and the value that leaves them out.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None), "use_rslora": (False, None), "bias": ("none", None), "lora_bias": (False, None),
    "rank_pattern": ({}, None), "alpha_pattern": ({}, None), "layer_replication": (None,),
    "trainable_token_indices": (None,), "target_parameters": (None, []), "use_qalora": (False, None),
}  # fmt: skip


def adapter_files(source: Source) -> dict[str, Path]:
    """The files of the adapters that training starts from, by their names in the folder; none where it starts afresh.

    Raises:
        InputFaults: (at ``adapters``) there are no values.
    """
    folder = source.adapters
    if folder is None:
        return {}
    if not (folder / VALUES).exists():
        other = folder / "adapter_model.bin"
        hint = f"; {other.name} is a pickle, which is not read: save it again as safetensors" if other.exists() else ""
        raise InputFaults([Fault("adapters", f"there is no {VALUES} in {folder}{hint}")])
    frozen = frozen_of(folder)
    return {name: folder / name for name in (ADAPTER_CONFIG, VALUES)} | ({} if frozen is None else {FROZEN: frozen})


def frozen_of(folder: Path) -> Path | None:
    """The file of the frozen weights that a run kept for the adapters in ``folder`` or below; ``None`` if there is none."""
    for place in (folder, *(each for each in folder.parents[:2] if each.name == _ROOT)):
        if (place / FROZEN).exists():
            return place / FROZEN
    return None


def examine_adapters(
    source: Source, lora: LoraOptions, *, name: str, causal_lm: bool, labels: Sequence[str]
) -> tuple[str, ...]:
    """Notes on adapters to start from that fit the backbone ``name``, ``lora``, and a task with these ``labels``.

    Raises:
        InputFaults: (at ``adapters``) a fault for each thing that does not fit; or files that are damaged.
    """
    if source.adapters is None:
        return ()
    adapter_files(source)
    fields, (shapes, types) = _settings(source.adapters), _header(source.adapters / VALUES)
    faults = [
        *_settings_faults(fields, lora),
        *_tensor_faults(source, lora, fields, shapes, types, causal_lm, max(len(labels), 2)),
    ]
    if faults:
        raise InputFaults([Fault("adapters", message) for message in faults])
    return tuple(_notes(source, fields, name))


def own_name(name: str) -> str:
    """A tensor's name in peft's file as the name that it has in the backbone."""
    return name.removeprefix(PEFT).replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default.")


def outside(name: str) -> str:
    """The name of a frozen tensor of the backbone in the model without adapters."""
    return name.replace(".base_layer.", ".")


def expected(shape: Architecture, targets: Sequence[str], rank: int) -> dict[str, tensors.Shape]:
    """Names in peft's file and shapes of the LoRA tensors on modules called ``targets``."""
    begin, found = f"{PEFT}{tensors.prefix(shape.family)}", dict[str, tensors.Shape]()
    for name, size in tensors.body(shape).items():
        module, _, leaf = name.rpartition(".")
        if leaf == "weight" and len(size) == 2 and module.rpartition(".")[2] in targets:
            outputs, inputs = size[::-1] if FAMILIES[shape.family].transposed else size
            found[f"{begin}{module}.lora_A.weight"] = (rank, inputs)
            found[f"{begin}{module}.lora_B.weight"] = (outputs, rank)
    return found


def _settings(folder: Path) -> dict[str, Any]:
    try:
        fields = json.loads(files.read(folder / ADAPTER_CONFIG, MOST_JSON))
        if not isinstance(fields, dict):
            raise ValueError("it holds no mapping")
    except (files.Unreadable, ValueError, RecursionError) as error:
        what = f"{folder / ADAPTER_CONFIG} cannot be read: {str(error).partition(chr(10))[0][:200]}"
        raise InputFaults([Fault("adapters", what)]) from None
    return fields


def _header(path: Path) -> tuple[dict[str, tensors.Shape], dict[str, str]]:
    """Shapes and types of the tensors in a file."""
    from safetensors import SafetensorError, safe_open

    shapes, types = {}, {}
    try:
        files.version(path)
        with safe_open(path, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                part = opened.get_slice(name)
                shapes[name], types[name] = tuple(part.get_shape()), part.get_dtype()
    except (files.Unreadable, OSError, ValueError, SafetensorError) as error:
        what = f"{path} cannot be opened: {str(error).partition(chr(10))[0][:200]}"
        raise InputFaults([Fault("adapters", what)]) from None
    return shapes, types


def _settings_faults(fields: Mapping[str, Any], lora: LoraOptions) -> Iterator[str]:
    if fields.get("peft_type") != "LORA":
        yield f"they are of peft's type {fields.get('peft_type')!r}; LORA is needed"
        return
    if fields.get("r") != lora.rank:
        yield f"they have rank {fields.get('r')}, the scenario {lora.rank}; make lora.rank the same"
    if fields.get("lora_alpha") != lora.alpha:
        yield f"they have alpha {fields.get('lora_alpha')}, the scenario {lora.alpha:g}; make lora.alpha the same"
    for key, plain in _PLAIN.items():
        if fields.get(key, plain[0]) not in plain:
            yield f"they have {key}: {fields[key]!r}, which is not modelled; valid: {plain[0]!r}"


def _tensor_faults(
    source: Source,
    lora: LoraOptions,
    fields: Mapping[str, Any],
    shapes: Mapping[str, tensors.Shape],
    types: Mapping[str, str],
    causal_lm: bool,
    classes: int,
) -> Iterator[str]:
    shape, targets = source.architecture, adapted(source.architecture, lora)
    rank = fields["r"] if isinstance(fields.get("r"), int) else lora.rank
    wanted = expected(shape, targets, rank)
    head = {} if causal_lm else {f"{PEFT}{name}": size for name, size in tensors.class_head(shape, classes).items()}
    rows = {f"{PEFT}{name}" for name in tensors.class_rows(shape)}
    begin = f"{PEFT}{tensors.prefix(shape.family)}"
    pooler = {f"{begin}{name}": size for name, size in tensors.pooler(shape).items()}
    known = expected(shape, [name for name, *_ in shape.linear()], rank)
    held = [name for name in shapes if ".lora_A." in name or ".lora_B." in name]
    strange = sorted(set(shapes) - known.keys() - pooler.keys() - {f"{PEFT}{n}" for n in tensors.class_head(shape, 2)})
    if strange:
        yield f"they have {len(strange)} tensors that the backbone ({shape.family}) has no place for, such as {strange[0]}"
    there, asked = ({_module(name) for name in names if name in known} for names in (held, wanted))
    if there != asked and not (strange and not there):
        names = (", ".join(sorted({name.rpartition(".")[2] for name in each})) or "nothing" for each in (there, asked))
        on = "they are on {} ({} modules), the scenario's on {} ({}); make lora.targets the same"
        first, second = names
        yield on.format(first, len(there), second, len(asked))
    lacking = sorted(name for name in wanted if name not in shapes and _module(name) in there)
    if lacking:
        yield f"they lack {len(lacking)} tensors, such as {lacking[0]}"
    sized = [name for name in held if name in known and shapes[name] != known[name]]
    if sized:
        what = f"{list(shapes[sized[0]])}, and the backbone makes it {list(known[sized[0]])}"
        yield f"they have {sized[0]} as {what}; they were trained on another backbone"
    if not head.keys() <= shapes.keys():
        yield "they have no class head, which the task needs"
    elif other := [name for name in head if name in rows and shapes[name] != head[name]]:
        had = shapes[other[0]]
        yield f"their class head has {had[0] if had else 0} classes, the task {classes}"
    elif other := [name for name in (*head, *pooler) if name in shapes and shapes[name] != (head | pooler)[name]]:
        yield f"they have {other[0]} as {list(shapes[other[0]])}, and the backbone makes it {list((head | pooler)[other[0]])}"
    odd = sorted(name for name, kind in types.items() if kind not in _FLOATS)
    if odd:
        yield f"they have {odd[0]} as {types[odd[0]]}; floating point numbers are needed"


def _module(name: str) -> str:
    return name.partition(".lora_")[0]


def _notes(source: Source, fields: Mapping[str, Any], name: str) -> Iterator[str]:
    folder = source.adapters
    assert folder is not None
    base, here = fields.get("base_model_name_or_path"), {name, source.location}
    if isinstance(base, str) and base and base not in here:
        yield f"the adapters of {folder} say that they were trained on {base}; the backbone is {name}"
    if source.location is None and frozen_of(folder) is None:
        yield f"the adapters of {folder} start on frozen weights drawn from the seed, which are not beside them"
