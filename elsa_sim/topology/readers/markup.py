"""XML files: their root element, in whatever encoding they declare; and which format it is.

Tested in tests/topology/readers/test_graphml.py.
"""

from __future__ import annotations

from typing import NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

MOST_DEPTH = 200


class _Refused(Exception):
    """The file has what is not read."""


class _Plain(TreeBuilder):
    """Refuses declarations of documents and entities, and towers of elements."""

    depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> NoReturn:
        raise _Refused("a DOCTYPE or entity declaration is refused; none is needed")

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise _Refused(f"elements are nested more than {MOST_DEPTH} deep")
        return super().start(tag, attributes)

    def end(self, tag: str) -> Element:
        self.depth -= 1
        return super().end(tag)


def root_of(data: bytes) -> Element | str:
    """The root element, or what is wrong with the file."""
    try:
        parser = XMLParser(target=_Plain())
        parser.feed(data.lstrip())
        root = parser.close()
    except _Refused as refused:
        return str(refused)
    except (ParseError, ValueError, LookupError) as error:  # an encoding nobody knows, or that the parser cannot read
        return f"not XML: {error}"
    return root if isinstance(root, Element) else "not XML: no element found"


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def inner(element: Element, *names: str) -> list[Element]:
    """The elements on that path of names below an element, whatever their namespace."""
    found = [element]
    for name in names:
        found = [child for each in found for child in each if local(child) == name]
    return found


def text_of(element: Element, *names: str) -> str:
    """The text of the first element on that path, or nothing."""
    found = inner(element, *names)
    return (found[0].text or "").strip() if found else ""
