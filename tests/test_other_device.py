"""``execution.device: cuda`` on a device that computes as the processor does, but does not mix with it (:mod:`elsewhere`).

Everything a run computes with is on that device, or copied on purpose; and what it finds is what the processor finds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from elsewhere import Elsewhere, Mixed, elsewhere, watched
from in_process import InProcess
from resumed import EVERY, killed_after
from small_runs import loaded

from elsa_sim.base.registry import discover
from elsa_sim.learning.execution.pools import POOLS
from elsa_sim.protocols.base import Protocol
from elsa_sim.results.metrics import Results
from elsa_sim.run import resuming, simulation

CUDA = "execution.device=cuda"
SHORT = ("protocol.rounds=1", "protocol.local_steps=1")
CODED = ("codec={activation: [ssop, {kind: sketch, columns: 8, decoder: linear}], "
         "gradient: [{kind: sketch, columns: 8, decoder: linear}], adapters: [feedback, {kind: topk, fraction: 0.5}]}")  # fmt: skip
LANGUAGE = ("task.objective=causal_lm", "backbone.config={num_hidden_layers: 3}", "backbone.lora={rank: 2}")
CASES: dict[str, tuple[str, ...]] = {
    "serial, codecs that are fitted": ("execution.executor=serial", CODED),
    "batched, codecs": (CODED,),
    "adaptive": ("codec={activation: [{kind: adaptive, error: 0.1}], adapters: [quantize]}",),
    "profiled and trusted": ("protocol.trust={}", "protocol.probing={texts: 6}"),
    "noise, clipped": ("protocol={kind: fedavg, aggregation: norm_clipping}", "unreliable={clients: {client1: noise}}"),
    "outliers": ("protocol={kind: fedavg, aggregation: outlier}", "unreliable={clients: {client1: sign_flip}}"),
    "proximal": ("protocol={kind: fedprox, aggregation: median}",),
    "Llama": ("backbone.name=tiny-llama", *LANGUAGE),
    "GPT-2": ("backbone.name=tiny-gpt2", *LANGUAGE),
    "attacks": ("privacy={attacks: [complement, discriminant, nearest_mean, procrustes]}",),
}


discover("elsa_sim.protocols")
#: Alignment differentiates forwards, which the other device knows nothing of.
PROTOCOLS = sorted(set(Protocol.members) - {"alignfed"})
CASES |= {name: (f"protocol={{kind: {name}}}",) for name in PROTOCOLS}


def play(folder: Path, *changes: str) -> Results:
    return simulation.run(loaded(*changes), folder)


def check(found: Results, expected: Results, within: float = 1e-3) -> None:
    assert found.summary["timeline_sha256"] == expected.summary["timeline_sha256"]
    assert found.rounds["loss"].tolist() == pytest.approx(expected.rounds["loss"].tolist(), rel=within)


def test_tensors_of_two_devices_do_not_mix() -> None:
    """The instrument itself: what would fail on a GPU fails here."""
    here = torch.ones(3)
    with watched():
        there = here.to("lazy")
        assert isinstance(there, Elsewhere)
        assert isinstance(there + 1, Elsewhere)
        assert isinstance(torch.zeros(3, device=there.device), Elsewhere)
        assert isinstance(torch.tensor([1.0], device=there.device), Elsewhere)
        assert not isinstance(there.cpu(), Elsewhere)
        assert (there * torch.tensor(2.0)).tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(Mixed):
            _ = there + here
        with pytest.raises(Mixed):
            here[None].index_select(0, torch.zeros(1, dtype=torch.int64, device=there.device))
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()


@pytest.mark.parametrize("name", CASES)
def test_a_run_computes_on_its_device_and_finds_the_same(name: str, tmp_path: Path) -> None:
    changes = (*CASES[name], *SHORT)
    expected = play(tmp_path / "here", *changes)
    with elsewhere():
        found = play(tmp_path / "there", *changes, CUDA)
    check(found, expected, 2e-2 if "adaptive" in name else 1e-3)


def test_workers_send_tensors_back_to_the_device_they_were_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POOLS, "local", InProcess)
    expected = play(tmp_path / "here", *SHORT, "execution.workers=2")
    with elsewhere():
        found = play(tmp_path / "there", *SHORT, "execution.workers=2", CUDA)
    check(found, expected)


def test_checkpoints_are_gone_on_with_on_the_same_device(tmp_path: Path) -> None:
    with elsewhere():
        whole = play(tmp_path / "whole", EVERY, CUDA)
        killed_after(tmp_path / "whole", tmp_path / "again", 1)
        again = resuming.resume(tmp_path / "again")
    assert again.summary["trace_sha256"] == whole.summary["trace_sha256"]
