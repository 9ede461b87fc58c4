"""Study files of the small scenario, and runners that play nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from small_runs import TEXT

from elsa_sim.results.event_table import SCHEMA, TABLE
from elsa_sim.study import Cell, Study, read

STUDY = """\
scenario: base.yaml
seeds: [1, 2]
axes:
  system:
    elsa: {}
    fedavg: {protocol: {kind: fedavg, rounds: 2, local_steps: 2}}
  task.topics: [3, 4]
metrics: [accuracy, sim_time_s, bytes.total]
"""
TIMING = "\nexecution: {mode: timing}\n"


def written(folder: Path, text: str = STUDY, base: str = TEXT) -> Path:
    """A study file, with its base scenario beside it."""
    (folder / "base.yaml").write_text(base, encoding="utf-8")
    (folder / "grid.yaml").write_text(text, encoding="utf-8")
    return folder / "grid.yaml"


def known(folder: Path, text: str = STUDY, base: str = TEXT) -> Study:
    """The same, read."""
    return read(written(folder, text, base))


def pretend(measure: Callable[[Cell], Mapping[str, object]], played: list[Cell] | None = None) -> Callable[
    [Sequence[Cell]], Iterator[Cell]
]:  # fmt: skip
    """A runner that writes the summaries that ``measure`` gives, and a table of two rounds."""

    def runner(cells: Sequence[Cell]) -> Iterator[Cell]:
        for cell in cells:
            cell.folder.mkdir(parents=True, exist_ok=True)
            found = dict(measure(cell))
            end = float(found.get("sim_time_s", 1.0))  # type: ignore[arg-type]
            rounds = {"round": [0, 1], "sim_time_s": [0.0, end], "accuracy": [0.0, found.get("accuracy", 0.5)],
                      "uplink_bytes": [0, 30], "downlink_bytes": [0, 12]}  # fmt: skip
            pd.DataFrame(rounds).to_csv(cell.folder / "rounds.csv", index=False)
            pq.write_table(SCHEMA.empty_table(), cell.folder / TABLE)
            (cell.folder / "summary.json").write_text(json.dumps(found), encoding="utf-8")
            if played is not None:
                played.append(cell)
            yield cell

    return runner
