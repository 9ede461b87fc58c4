"""The model card of trained adapters: README.md with the front matter of the Hugging Face hub, and the facts of the run.

Tested in tests/run/test_adapters.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.units import format_bytes, format_energy, format_seconds
from ..scenario.yaml_reader import write
from ..version import __version__

if TYPE_CHECKING:
    from ..learning.tasks.base import Task
    from ..results.metrics import Results
    from .checks import Plan

#: Metrics of an evaluation that a card tells, where they were measured.
METRICS = ("accuracy", "macro_f1", "loss", "perplexity")


def card(plan: Plan, results: Results, scenario: str, *, round: int, name: str = "", client: str = "") -> str:
    """The card of the adapters of ``round`` in the folder ``name`` below ``adapters/``; ``scenario`` is the resolved text.

    ``client`` is who trained them, if they are not those of all.
    """
    row = _row(results, round)
    front = write({key: value for key, value in _front(plan, results, row).items() if value})
    body = "\n".join(_body(plan, results, row, round=round, depth=len(Path(name).parts), client=client))
    return f"---\n{front}---\n\n{body}\n\n## Scenario\n\n```yaml\n{scenario.rstrip()}\n```\n"


def _row(results: Results, round: int) -> dict[str, Any]:
    """What the table of rounds tells of a round."""
    found = results.rounds[results.rounds["round"] == round]
    return {} if found.empty else {k: v for k, v in found.iloc[-1].items() if v == v}  # type: ignore[misc]


def _measured(row: dict[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """Each metric: name, what of, deployed, clean."""
    for metric in METRICS:
        if metric in row:
            yield metric, metric.replace("_", "-"), float(row[metric]), float(row.get(f"clean_{metric}", row[metric]))


def _front(plan: Plan, results: Results, row: dict[str, Any]) -> dict[str, Any]:
    source, task = plan.source, plan.scenario.task
    hub = source.location if source.location is not None and not Path(source.location).exists() else None
    kind = "text-classification" if task.objective == "classification" else "text-generation"
    metrics = [
        {"type": metric, "name": f"{label} ({of})", "value": value}
        for metric, label, deployed, clean in _measured(row)
        for of, value in (("deployed", deployed), ("clean", clean))
    ]
    found = {"task": {"type": kind}, "dataset": {"type": _kind(task), "name": _kind(task)}, "metrics": metrics}
    return {
        "library_name": "peft",
        "base_model": hub,
        "pipeline_tag": kind,
        "tags": ["lora", "federated-learning", "split-learning", "elsa-sim"],
        "model-index": [{"name": results.name, "results": [found]}] if metrics else None,
    }


def _body(plan: Plan, results: Results, row: dict[str, Any], *, round: int, depth: int, client: str) -> Iterator[str]:
    scenario, summary = plan.scenario, results.summary
    lora = scenario.backbone.lora
    whose = f"What the client {client} trained last" if client else f"Adapters after round {round}"
    yield f"# {results.name}: LoRA adapters\n"
    yield f"{whose} of a simulated run of the protocol `{scenario.protocol.kind}` (elsa-sim {__version__}).\n"
    if not summary.get("complete", True):
        yield f"**The run did not end as it should**: {' '.join(str(summary.get('outcome', '')).split())}\n"
    yield "| | |\n|---|---|"
    numbers = f", {said}" if (said := scenario.backbone.numbers.spoken) else ""
    yield f"| backbone | `{scenario.backbone.name}`, frozen{numbers} |"
    yield f"| adapters | LoRA, rank {lora.rank}, alpha {lora.alpha:g} |"
    yield f"| task | {_kind(scenario.task)}, {scenario.task.objective}, {len(plan.texts.test)} test samples |"
    if plan.texts.labels:
        shown = ", ".join(f"`{_plain(name)}`" for name in plan.texts.labels[:20])
        yield f"| classes | {shown}{', ...' if len(plan.texts.labels) > 20 else ''} |"
    if row:
        sent = float(row["uplink_bytes"]) + float(row["downlink_bytes"])
        yield f"| simulated time | {format_seconds(float(row['sim_time_s']))} |"
        yield f"| sent by then | {format_bytes(sent)}, {format_bytes(float(row['uplink_bytes']))} of it up |"
        yield f"| energy by then, without idle | {format_energy(float(row['energy_j']))} |"
    yield f"| seed | {scenario.seed} |\n"
    measured = list(_measured(row))
    if measured:
        of = " of the adapters of all after this round" if client else ""
        yield f"Metrics on the test data{of}, behind the run's codecs (deployed) and of the unsplit model (clean):\n"
        yield "| metric | deployed | clean |\n|---|---|---|"
        yield from (f"| {label} | {deployed:.4f} | {clean:.4f} |" for _, label, deployed, clean in measured)
        yield ""
    yield from _use(plan, depth)
    yield "It repeats with `elsa-sim run scenario.yaml`, the scenario below."


def _use(plan: Plan, depth: int) -> Iterator[str]:
    scenario = plan.scenario
    classify = scenario.task.objective == "classification"
    kind = "AutoModelForSequenceClassification" if classify else "AutoModelForCausalLM"
    base = plan.source.location
    place = "../" * depth + "backbone" if base is None else base
    dtype = scenario.backbone.dtype
    more = "" if dtype == "float32" else f', dtype="{dtype}"'
    more += f", num_labels={max(len(plan.texts.labels), 2)}, ignore_mismatched_sizes=True" if classify and base else ""
    yield f"```python\nfrom peft import PeftModel\nfrom transformers import {kind}\n"
    yield f'model = PeftModel.from_pretrained({kind}.from_pretrained("{place}"{more}), ".")\n```\n'
    if base is None:
        yield f"The frozen weights were drawn from the run's seed; they and the tokenizer are in `{place}/`.\n"
    elif classify:
        yield "The class head, and a pooler that the checkpoint lacks, are among the adapters (`modules_to_save`).\n"
    from ..codecs.ssop import SSOP

    if any(isinstance(codec, SSOP) and codec.unread for codec in scenario.codec.chains["activation"]):
        yield ("In the run, layers of Part 2 did not read a subspace (`ssop`, `unread`). That is in no tensor here, so the model "
               "above differs from the clean one.\n")  # fmt: skip


def _kind(task: Task) -> str:
    return str(type(task).model_fields["kind"].default)


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").replace("`", "'").split())
