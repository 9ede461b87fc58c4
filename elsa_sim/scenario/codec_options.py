"""The codec section of a scenario: a chain of codecs for any kind of message that its protocol sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import new_class
from typing import Any, TypeAlias

from pydantic import ConfigDict, SerializeAsAny

from ..base.choices import any_of, with_choices
from ..base.errors import Fault
from ..base.registry import Items, Options
from ..codecs.base import Codec
from ..protocols.base import Protocol
from .document import Document
from .validation import hint, in_order
from .yaml_reader import brief

#: Codecs in the sender's order; the receiver reverses it.
Chain: TypeAlias = Items[tuple[SerializeAsAny[Codec], ...]]


class CodecOptions(Options):
    """What encodes each kind of message: codecs in the sender's order; the receiver reverses it.

    A protocol may send other kinds of messages than these; each is a key, too.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Chain]
    activation: Chain = ()
    """Hidden states at a cut, up and down."""
    gradient: Chain = ()
    """Gradients at a cut, up and down."""
    adapters: Chain = ()
    """Adapters on their way to and from an aggregation."""

    @property
    def chains(self) -> dict[str, tuple[Codec, ...]]:
        """Kind of message -> its chain as stated; see :func:`.codecs.chain.coupled` for those that run."""
        return {kind: getattr(self, kind) for kind in type(self).model_fields} | (self.__pydantic_extra__ or {})


def with_codecs() -> type[CodecOptions]:
    """The section with a choice among the codecs that are registered now."""
    chain: Any = Items[tuple[any_of(Codec), ...]]  # type: ignore[misc]
    named = with_choices(CodecOptions, **dict.fromkeys(CodecOptions.model_fields, chain))
    body = {"__module__": __name__, "__doc__": CodecOptions.__doc__}
    others = {"__annotations__": {"__pydantic_extra__": dict[str, chain]}}
    made: type[CodecOptions] = new_class(named.__name__, (named,), exec_body=lambda own: own.update(body | others))
    return made


def in_lists(document: Document) -> Document:
    """The document with a list around each single codec, which may be left out."""
    section = document.data.get("codec")
    for kind, chain in section.items() if isinstance(section, dict) else ():
        if isinstance(chain, dict | str):
            document = document.wrapped(("codec", kind))
    return document


def with_unsent(faults: Iterable[Fault], document: Document, protocol: Protocol | None) -> list[Fault]:
    """``faults``, and those of chains for messages that ``protocol`` (any one, where it is not known) does not send."""
    section = document.data.get("codec")
    section = section if isinstance(section, Mapping) else {}
    sent = _sent_by_any() if protocol is None else protocol.message_kinds
    valid = list(dict.fromkeys((*CodecOptions.model_fields, *sent)))
    sends = "no protocol sends it" if protocol is None else f"protocol {protocol.kind!r} does not send it"
    new = [
        document.fault(("codec", kind), f"unknown key {brief(kind)}{hint(kind, valid)}; {sends}")
        for kind in section
        if kind not in valid
    ]
    if protocol is not None:
        has = f"it sends {', '.join(sent)}" if sent else "it sends nothing"
        new += [
            document.fault(("codec", kind), f"{sends}, so codecs there have no effect; {has}; leave the key out")
            for kind, chain in section.items()
            if kind in CodecOptions.model_fields and kind not in sent and chain
        ]
    kept = [fault for fault in faults if not any(f"{fault.path}.".startswith(f"{each.path}.") for each in new)]
    return in_order([*kept, *new])


def _sent_by_any() -> Iterator[str]:
    """The kinds of messages that registered protocols send."""
    members: Iterable[Any] = Protocol.members.values()
    for member in members:
        crossings = getattr(
            member.pattern, "crossings", ()
        )  # a pattern may depend on options, and is then not known here
        yield from (*(each.kind for each in crossings), *member.messages)
