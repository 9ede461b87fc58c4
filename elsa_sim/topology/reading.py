"""The bytes of a file that a scenario names, within a bound.

Tested in tests/topology/test_files.py and tests/topology/test_traces.py.
"""

from __future__ import annotations

from ..base.context import Context
from ..base.errors import Fault, InputFaults

MOST_BYTES = 64 * 2**20


def read_bytes(context: Context, name: str, key: str) -> bytes:
    """The contents of the file ``name``.

    Raises:
        InputFaults: no such file, one that cannot be read, an empty one, or one of more than ``MOST_BYTES``; at ``key``.
    """
    data = context.read(name, key, most=MOST_BYTES)
    if not data:
        raise InputFaults([Fault(key, f"{name} is empty")])
    return data


def as_text(data: bytes, what: str, key: str) -> str:
    """The UTF-8 text of a file, without a byte order mark.

    Raises:
        InputFaults: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{what} is not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}"
        raise InputFaults([Fault(key, message)]) from error
