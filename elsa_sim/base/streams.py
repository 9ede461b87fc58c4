"""Named random streams: one seed, one independent generator per purpose and per node.

A stream depends on the seed and its own name only, so adding a component, or changing the protocol, does not
disturb the others: two protocols compared on one seed meet the same stragglers, data and batches (common random
numbers). No global random state is read or written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Streams:
    """The random streams of one run, derived from its ``seed``."""

    seed: int

    def integer(self, *name: str | int) -> int:
        """A seed in [0, 2**63) for the stream ``name``, e.g. ``streams.integer("batches", 7)``; 7 and "7" are one name."""
        parts = (str(part).replace("\\", "\\\\").replace("/", "\\/") for part in name)
        text = "/".join([str(self.seed), *parts])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def uniform(self, *name: str | int) -> float:
        """One number, uniform in (0, 1), of the stream ``name``: cheaper than a generator for whoever needs no more."""
        return ((self.integer(*name) >> 10) + 0.5) * 2.0**-53

    def numpy(self, *name: str | int) -> np.random.Generator:
        """A fresh NumPy generator at the beginning of the stream ``name``."""
        return np.random.default_rng(self.integer(*name))
