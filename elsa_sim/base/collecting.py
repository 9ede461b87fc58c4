"""How often Python looks for garbage in cycles: a run makes many objects, few of them in cycles, and so do imports and figures.

With 10,000 clients a timing-only run would otherwise spend half of its time looking through what is still in use.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: New objects, and collections of younger generations, after which each generation is looked through.
SELDOM = (100_000, 20, 20)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Look for cyclic garbage more seldom meanwhile."""
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
