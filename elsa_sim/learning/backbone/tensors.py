"""Names and shapes of a transformer's tensors, from its architecture alone: what a file of weights must hold.

Names are those of Hugging Face's models without the prefix of the base model (``bert.``, ``transformer.``, ``model.``).

Tested in tests/learning/backbone/test_weights.py.
"""

from __future__ import annotations

from .architecture import Architecture
from .families import FAMILIES
from .families import Shape as Shape


def prefix(family: str) -> str:
    """What the names of the body's tensors begin with in a model with a head."""
    return FAMILIES[family].prefix


def layer_prefix(family: str) -> str:
    """What the names of the layers' tensors begin with in a model with a head, before the number of the layer."""
    return f"{FAMILIES[family].prefix}{FAMILIES[family].layer_path}."


def class_head(shape: Architecture, labels: int) -> dict[str, Shape]:
    """The tensors of the class head."""
    return FAMILIES[shape.family].class_head(shape, labels)


def class_rows(shape: Architecture) -> tuple[str, ...]:
    """The tensors of the class head that have a row for each class."""
    one, two = class_head(shape, 1), class_head(shape, 2)
    return tuple(name for name, size in one.items() if size != two[name])


def pooler(shape: Architecture) -> dict[str, Shape]:
    """The frozen tensors between the last layer and the class head, which a checkpoint may lack."""
    return FAMILIES[shape.family].pooler(shape)


def body(shape: Architecture) -> dict[str, Shape]:
    """The tensors of embeddings, layers and last norm: those without which there is no model."""
    family = FAMILIES[shape.family]
    found = family.below(shape)
    for index in range(shape.layers):
        layer = family.layer_tensors(shape, index)
        found |= {f"{family.layer_path}.{index}.{name}": size for name, size in layer.items()}
    return found | family.shared(shape) | family.above(shape)


def language_head(shape: Architecture) -> dict[str, Shape]:
    """The head of a language model where it is not the token table."""
    return {} if shape.tied else {"lm_head.weight": (shape.vocabulary, shape.hidden)}
