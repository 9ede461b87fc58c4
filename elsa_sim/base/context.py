"""What a section of a scenario may use while it is built: where files are, and the random streams."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import Fault, InputFaults
from .streams import Streams

DATA_VARIABLE = "ELSA_SIM_DATA"


@dataclass(frozen=True)
class Context:
    """Where relative paths start, and the run's random streams."""

    streams: Streams
    folder: Path = Path()

    def file(self, path: str, key: str) -> Path:
        """The existing file ``path``: absolute, relative to the scenario file, or to ``$ELSA_SIM_DATA``.

        Raises:
            InputFaults: there is no such file; the fault is at ``key`` and names the places looked at.
        """
        roots = [self.folder, *([Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else [])]
        places = [(root / path) for root in roots]
        for place in places:
            try:
                if place.is_file():
                    return place.resolve()
            except (OSError, ValueError):
                continue  # a name no file system takes
        looked = ", ".join(str(place) for place in places)
        hint = "" if len(roots) > 1 else f" (${DATA_VARIABLE} is not set)"
        raise InputFaults([Fault(key, f"no such file {path!r}; looked at {looked}{hint}")])
