"""A backbone on paper against the built one: names, shapes, parts and FLOPs, of every family and objective."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_models import CASES, CLASSES, LAYERS, LINEAR, VOCABULARY, configuration, small

from elsa_sim.base.context import Context
from elsa_sim.base.streams import Streams
from elsa_sim.learning.backbone.blueprint import Blueprint
from elsa_sim.learning.backbone.memory import Outline
from elsa_sim.learning.backbone.options import BackboneOptions, LoraOptions, locate, three_parts, whole

PARTS = [*three_parts(LAYERS, 1, 1), *three_parts(LAYERS, 0, 0), whole(LAYERS)]


def blueprint(folder: Path, family: str, objective: str, targets: tuple[str, ...] | None) -> Blueprint:
    lora = LoraOptions(rank=2, alpha=3.0, targets=targets)
    options = BackboneOptions(name=str(configuration(folder, family)), weights="random", lora=lora)
    source, causal = locate(options, Context(Streams(0))), objective == "causal_lm"
    return Blueprint(Outline.of(source, lora, causal_lm=causal, labels=CLASSES, vocabulary=VOCABULARY))


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_it_is_what_would_be_built(tmp_path: Path, family: str, objective: str) -> None:
    for targets in (None, LINEAR[family]):
        built = small(tmp_path, family, objective, targets=targets, meta=True)
        paper = blueprint(tmp_path / "paper", family, objective, targets)
        assert list(paper.specs.items()) == list(built.specs.items())  # in the same order: so are messages
        assert (paper.layers, paper.hidden, paper.objective) == (built.layers, built.hidden, built.objective)
        assert paper.outline
        assert built.outline
        for part in PARTS:
            assert paper.names(part) == built.names(part), part


def test_it_has_no_values(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no values"):
        blueprint(tmp_path, "bert", "classification", None).initial()


RUN = """
import sys
from elsa_sim.run import simulation
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.model import validated
results = simulation.run(validated(parse(sys.argv[1], "large.yaml")))
print([name for name in ("torch", "transformers", "peft", "sklearn") if name in sys.modules])
"""
SCENARIO = """
protocol: {kind: elsa, rounds: 1, local_steps: 1}
backbone: {name: llama-3.1-405b}
task: {kind: lengths, objective: causal_lm, length: 128, train_size: 40, batch_size: 2}
topology: {kind: tree, clients: 4, edges: 2, access: {up: 1 Gbit/s}, backhaul: {up: 10 Gbit/s}}
devices: {client: {speed: 20 TFLOP/s, memory: 100 GiB}, edge: {speed: 1000 TFLOP/s, memory: 8 TiB}}
execution: {mode: timing}
"""


def test_a_timing_run_needs_no_tensor_library() -> None:
    """What loading one would take is most of what a run of a large model takes."""
    done = subprocess.run([sys.executable, "-c", RUN, SCENARIO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
