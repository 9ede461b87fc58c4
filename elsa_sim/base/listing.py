"""Lists in messages: the first few of many, and how many more there are."""

from __future__ import annotations

from collections.abc import Iterable

#: Characters of one item, at most.
LONGEST = 60


def listed(items: Iterable[object], most: int = 5, *, quoted: bool = False) -> str:
    """``a, b, c and 12 more``; long items are shortened, names of users' things are best ``quoted``."""
    texts = [text if len(text) <= LONGEST else text[: LONGEST - 3] + "..." for text in map(str, items)]
    shown = [repr(text) if quoted else text for text in texts[:most]]
    return ", ".join(shown) + (f" and {len(texts) - most} more" if len(texts) > most else "")
