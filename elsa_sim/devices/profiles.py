"""Known devices: ``profiles.json`` beside this file, with sources."""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib.resources import files
from typing import Any

GIB = 2.0**30


@cache
def known() -> dict[str, dict[str, Any]]:
    """Profile name -> its entry in the data file."""
    entries: dict[str, dict[str, Any]] = json.loads(files(__package__).joinpath("profiles.json").read_text("utf-8"))[
        "devices"
    ]
    return entries


def profile(name: str) -> dict[str, Any]:
    """The device options of a profile: speed is the peak times the stated efficiency.

    Raises:
        ValueError: there is no such profile.
    """
    entry = known().get(name)
    if entry is None:
        near = difflib.get_close_matches(name, known(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known())}"
        raise ValueError(f"there is no device profile {name!r}; {hint}")
    return {
        "speed": entry["peak_flops"] * entry["efficiency"],
        "memory": entry["memory_gib"] * GIB,
        "power": {"idle": entry["idle_w"], "busy": entry["busy_w"]},
    }
