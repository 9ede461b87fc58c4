"""The type of a verb. Tested in tests/world/test_computing.py."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import simpy

#: The generator type of a verb: it yields SimPy events and returns a value.
Verb: TypeAlias = Generator[simpy.Event, Any, Any]
