"""Data that some example scenarios need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ABILENE = "topology_zoo/Abilene.graphml"


@pytest.fixture
def zoo() -> Path:
    """The data folder with the Topology Zoo in it; the test is skipped where there is none, but in CI."""
    data = Path(os.environ.get("ELSA_SIM_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (data / ABILENE).is_file() and not os.environ.get("CI"):
        pytest.skip(f"needs the Topology Zoo: {ABILENE} below {data}")
    return data
