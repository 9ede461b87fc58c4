"""Readers of topology files: bytes in; nodes, links and everything that is wrong with them out. One format, one file.

Tested in tests/topology/test_files.py.
"""

from __future__ import annotations

from .csv_edges import read_csv
from .gml import read_gml
from .graphml import read_graphml
from .json_nodelink import read_json
from .markup import local, root_of
from .raw import Asked, RawLink, Read, Reader
from .sndlib import read_sndlib

__all__ = ["READERS", "Asked", "RawLink", "Read", "Reader"]

#: The root element of an XML format -> its reader.
_ROOTS = {"graphml": read_graphml, "network": read_sndlib}


def _read_xml(data: bytes, asked: Asked) -> Read:
    """GraphML or SNDlib, told apart by the root element."""
    root = root_of(data)
    if isinstance(root, str):
        return Read(said=[root])
    reader = _ROOTS.get(local(root))
    if reader is None:
        return Read(
            said=[f"the root element is {local(root)[:60]!r}; known: {', '.join(_ROOTS)} (of GraphML and SNDlib)"]
        )
    return reader(root, asked)


#: Ending of a file -> its reader.
READERS: dict[str, Reader] = {
    ".json": read_json, ".graphml": _read_xml, ".xml": _read_xml, ".gml": read_gml, ".csv": read_csv,
}  # fmt: skip
