"""What a study can tabulate (see `..results.measures`), and which run directories it can read.

Tested in tests/study/test_tables.py.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype
from pyarrow import ArrowException
from pyarrow.parquet import read_metadata

from ..results.event_table import TABLE

#: What tables and figures of a study need of a table of rounds.
_NEEDED = ("sim_time_s", "accuracy", "uplink_bytes", "downlink_bytes")


def rounds_of(folder: Path) -> pd.DataFrame:
    """The table of rounds of a finished run."""
    return pd.read_csv(folder / "rounds.csv")


def readable(folder: Path) -> bool:
    """Whether a folder has a table of rounds that studies can read, and an event table behind it."""
    try:
        rounds = rounds_of(folder)
    except (OSError, ValueError):
        return False
    try:
        read_metadata(folder / TABLE)
    except (OSError, ArrowException):
        return False
    return len(rounds) > 0 and all(name in rounds and is_numeric_dtype(rounds[name]) for name in _NEEDED)
