"""Run directories and studies of made-up runs, which take no time to play."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import synthetic_run
import yaml

from elsa_sim.results.event_table import SCHEMA, TABLE
from elsa_sim.results.metrics import Results

SCENARIO: dict[str, Any] = {
    "name": "made-up",
    "seed": 0,
    "protocol": {"kind": "elsa", "rounds": 3, "lr": 0.002, "wait": {}},
    "backbone": {"name": "tiny-bert", "lora": {"rank": 8, "targets": ["query", "value"]}},
    "task": {"kind": "synthetic", "objective": "classification", "topics": 4, "batch_size": 8, "train_size": 100},
    "codec": {"activation": [], "adapters": [{"kind": "int8"}]},
    "stop": {"target_accuracy": 0.5},
    "execution": {"mode": "real"},
}


@cache
def _played(seed: int, scale: float, protocol: str) -> Results:
    return synthetic_run.make(
        clients=2, edges=1, rounds=3, steps=1, straggler=None, seed=seed, scale=scale, protocol=protocol
    )


def made(name: str = "made-up", seed: int = 0, scale: float = 1.0, protocol: str = "elsa", **changes: Any) -> Results:
    """A run in memory, with a scenario; ``changes`` are values of it, by key paths with ``__`` for dots."""
    scenario = copy.deepcopy(SCENARIO) | {"name": name, "seed": seed}
    scenario["protocol"]["kind"] = protocol
    for path, value in changes.items():
        *sections, key = path.split("__")
        here = scenario
        for section in sections:
            here = here[section]
        here[key] = value
    run = _played(seed, scale, protocol)
    summary = {**run.summary, "name": name, "seed": seed, "outcome": "done", "host": {"wall_s": 2.5}}
    return replace(run, name=name, summary=summary, scenario=scenario)


def saved(run: Results, folder: Path) -> Path:
    """The run directory of a run in memory."""
    folder.mkdir(parents=True)
    events = run.events.assign(
        **{each.name: run.events[each.name].astype(str) for each in SCHEMA if each.type == pa.string()}
    )
    pq.write_table(pa.Table.from_pandas(events, SCHEMA, preserve_index=False), folder / TABLE)
    run.rounds.to_csv(folder / "rounds.csv", index=False)
    (folder / "topology.json").write_text(json.dumps(run.topology), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(run.summary), encoding="utf-8")
    (folder / "scenario.yaml").write_text(yaml.safe_dump(dict(run.scenario)), encoding="utf-8")
    return folder


def study(folder: Path, seeds: int = 3, failed: int = 0) -> Path:
    """The folder of a study of two systems and as many seeds, of which the last cells failed."""
    rows = []
    (folder / "cells").mkdir(parents=True)
    cells = [(system, seed) for seed in range(seeds) for system in ("elsa", "fedavg")]
    for i, (system, seed) in enumerate(cells):
        state = "done" if i < len(cells) - failed else "failed"
        if state == "done":
            saved(made("base", seed, protocol=system), folder / "cells" / f"{system}{seed}")
        rows.append({"system": system, "task.topics": "4", "seed": seed, "run": f"{system}{seed}", "state": state})
    pd.DataFrame(rows).to_csv(folder / "runs.csv", index=False)
    return folder
