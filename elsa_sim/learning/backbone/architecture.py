"""The shape of a transformer, read from its configuration: no tensor library, no weights.

Which fields a configuration has, their defaults, and what they make of a layer is its family's to say (`families`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ...base.errors import Fault, InputFaults
from .families import FAMILIES, Family

ENCODERS = tuple(sorted(name for name, family in FAMILIES.items() if not family.causal))
DECODERS = tuple(sorted(name for name, family in FAMILIES.items() if family.causal))


@dataclass(frozen=True)
class Architecture:
    """A transformer's shape."""

    family: str
    """transformers' ``model_type``."""
    layers: int
    """L."""
    hidden: int
    """D."""
    inner: int
    """I, the size between the two linear layers of a feed-forward block."""
    heads: int
    """Attention heads."""
    key_heads: int
    """Heads of keys and values."""
    head: int
    """Size of a head."""
    positions: int
    """Rows of the table of position embeddings; where there is no table, the length the model was made for."""
    longest: int | None
    """Tokens of the longest sequence there are position embeddings for; ``None``: no limit."""
    token_types: int
    """Rows of the table of token types; 0: there is none."""
    vocabulary: int
    """Rows of the token table, V."""
    tied: bool
    """Whether the head of a language model is its token table."""
    attention_bias: bool
    """Whether the attention of a layer of Llama or its kin has biases."""
    inner_bias: bool
    """Whether a Llama layer's feed-forward block has biases."""
    traits: tuple[tuple[str, int], ...] = ()
    """What shapes depend on in this family alone."""

    @property
    def decoder(self) -> bool:
        """Whether it can predict tokens."""
        return FAMILIES[self.family].causal

    def linear(self) -> list[tuple[str, int, int]]:
        """The linear modules of a layer: name, inputs, outputs; adapters can be put on these."""
        return [(each.name, each.inputs, each.outputs) for each in FAMILIES[self.family].modules(self)]

    def trait(self, name: str) -> int:
        """One of `traits`."""
        return dict(self.traits)[name]


def merged(model_type: str, fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` of a configuration after ``changes``, each under its own name, no other one."""
    aliases = FAMILIES[model_type].aliases
    given = (*fields.items(), *changes.items())
    return {aliases.get(key, key): value for key, value in given if not (value is None and key in aliases)}


def architecture(model_type: str, fields: Mapping[str, Any], changes: Mapping[str, Any]) -> Architecture:
    """The shape that a configuration of the family ``model_type`` has after ``changes``.

    Raises:
        InputFaults: fields of a wrong type or value; at ``config.KEY`` if they were changed, at ``name`` if not.
    """
    family, own = FAMILIES[model_type], merged(model_type, fields, {})
    faults = [
        Fault("name", f"its configuration: {key}: {problem}")
        for key, value in own.items()
        if key not in merged(model_type, {}, changes) and (problem := _problem(family, key, value))
    ]
    for key, value in changes.items():
        if problem := _problem(family, family.aliases.get(key, key), value):
            faults.append(Fault(f"config.{key}", problem))
    if faults:
        raise InputFaults(faults)
    whole = {**family.fields, **merged(model_type, fields, changes)}
    for key, problem in family.obstacles(whole):
        changed = [name for name in changes if family.aliases.get(name, name) == key]
        what = problem if changed else f"its configuration: {key}: {problem}"
        raise InputFaults([Fault(f"config.{changed[0]}" if changed else "name", what)])
    made = _read(family, whole)
    if family.whole_heads and made.hidden % made.heads:
        message = f"the hidden size {made.hidden} is not a multiple of the {made.heads} attention heads"
        raise InputFaults([Fault("config" if changes else "name", message)])
    if made.heads % made.key_heads:
        message = f"{made.heads} attention heads are no multiple of the {made.key_heads} heads of keys and values"
        raise InputFaults([Fault("config" if changes else "name", message)])
    return made


def unknown(model_type: str, key: str) -> Fault:
    """The fault of a change to a field that does not exist."""
    near = get_close_matches(key, [*FAMILIES[model_type].fields, *FAMILIES[model_type].aliases], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Fault(f"config.{key}", f"{model_type} has no configuration field {key!r}{hint}")


def known(model_type: str, key: str) -> bool:
    """Whether there is a field of this name here."""
    return key in FAMILIES[model_type].fields or key in FAMILIES[model_type].aliases


def _problem(family: type[Family], key: str, value: Any) -> str | None:
    if key not in family.fields:
        return None
    default, number = family.fields[key], isinstance(value, int | float) and not isinstance(value, bool)
    optional = default is None or key in ("num_key_value_heads", "head_dim", "sliding_window") or key.endswith("_id")
    if value is None and optional:
        return None
    if key in family.sizes():
        if not isinstance(value, int) or isinstance(value, bool):
            return f"expected int, got {value!r}"
        return None if value >= 1 else f"must be >= 1, got {value}"
    fits = default is None or type(value) is type(default) or (isinstance(default, float) and number) or (
        key.endswith("_id") and isinstance(value, list))  # fmt: skip
    return None if fits else f"expected {type(default).__name__}, got {value!r}"


def _read(family: type[Family], fields: Mapping[str, Any]) -> Architecture:
    """A whole configuration in the names of this module; its values are of the right types."""
    hidden, heads = int(fields[family.hidden_field]), int(fields[family.heads_field])
    return Architecture(
        family=family.model_type,
        layers=int(fields[family.layers_field]),
        hidden=hidden,
        inner=family.inner(fields),
        heads=heads,
        key_heads=int(fields.get("num_key_value_heads") or heads),
        head=int(fields.get("head_dim") or max(1, hidden // heads)),
        positions=int(fields[family.positions_field]),
        longest=family.longest(fields),
        token_types=int(fields.get("type_vocab_size") or 0),
        vocabulary=int(fields["vocab_size"]),
        tied=bool(fields["tie_word_embeddings"]),
        attention_bias=bool(fields.get("attention_bias")),
        inner_bias=bool(fields.get("mlp_bias")),
        traits=tuple(family.traits(fields).items()),
    )
