"""A run that is broken off and gone on with is the run that was not: event table, rounds, adapters, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from resumed import assert_resumes

from elsa_sim.run.checkpoint_files import found

UNEVEN = "devices.overrides={client1: {slowdown: 2.7}, client2: {slowdown: 1.3}}"
SPLIT = "protocol={kind: fedbuff, clients: split, rounds: 5, local_steps: 2, lr: 5.0e-3, buffer: 1}"
CODECS = (
    "codec.activation=[{kind: ssop, rank: 4}, {kind: sketch, rows: 2, columns: 8}]",
    "codec.gradient=[{kind: sketch, rows: 2, columns: 8}]",
    "codec.adapters=[feedback, {kind: topk}]",
)
CASES = {
    "elsa with codecs, trust and feedback": (
        "protocol={kind: elsa, rounds: 3, local_steps: 1, edge_rounds: 2, recluster_every: 2}",
        *CODECS,
    ),
    "asynchronous": ("protocol={kind: fedasync, rounds: 5, local_steps: 2, lr: 5.0e-3}", UNEVEN),
    "split asynchronous and serial": (SPLIT, UNEVEN, *CODECS, "execution.executor=serial"),
    "split asynchronous with codecs": (SPLIT, UNEVEN, *CODECS),
    "split asynchronous": (SPLIT, UNEVEN),
}


@pytest.mark.parametrize("case", CASES)
def test_from_every_checkpoint(case: str, tmp_path: Path) -> None:
    assert len(assert_resumes(tmp_path, *CASES[case])) >= 3
    under_way = [each.state["arithmetic"] for each in found(tmp_path / "whole")]
    assert any(each["pending"] for each in under_way) == (case == "split asynchronous")
    assert any(each["again"] for each in under_way) == (case.startswith("split asynchronous "))
