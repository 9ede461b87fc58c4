"""Every scenario, study and plugin in the pages is checked, and every plugin is played."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pages import PAGES, ROOT, blocks, name
from small_runs import loaded, played

from elsa_sim import study
from elsa_sim.base.registry import Component, families
from elsa_sim.results import plots
from elsa_sim.run import checks
from elsa_sim.scenario.document import parse
from elsa_sim.scenario.model import scenario_type, validated

EXTENDING = ROOT / "docs" / "extending.md"
SNIPPETS = [(page, text) for page in PAGES for text in blocks(page, "yaml")]
SCENARIOS = [(page, text) for page, text in SNIPPETS if "axes" not in yaml.safe_load(text)]
STUDIES = [(page, text) for page, text in SNIPPETS if "axes" in yaml.safe_load(text)]
BASE = "protocol: {kind: elsa, rounds: 2}\ncodec: {activation: [int8]}\npartition: {kind: dirichlet}\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data that examples may name."""
    (tmp_path / "train.csv").write_text("text,label\n" + "some words,a\nother words,b\n" * 200, encoding="utf-8")
    monkeypatch.setenv("ELSA_SIM_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("page", "text"), SCENARIOS, ids=[f"{name(p)}-{i}" for i, (p, _) in enumerate(SCENARIOS)])
def test_scenarios_are_valid(page: Path, text: str, data: Path) -> None:
    plan = checks.check(validated(parse(text, name(page), page.parent)))
    assert plan.topology.names("client")


def test_there_is_a_scenario_on_every_page_of_the_guide() -> None:
    pages = {name(page) for page, _ in SCENARIOS}
    assert pages >= {
        "README.md",
        *(f"docs/{each}.md" for each in ("scenarios", "network", "devices", "protocols", "codecs")),
    }
    assert {name(page) for page, _ in STUDIES} == {"docs/studies.md"}


@pytest.mark.parametrize("text", [text for _, text in STUDIES])
def test_studies_are_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    cells = study.cells(study.read(tmp_path / "study.yaml"), tmp_path / "cells")
    assert len(cells) == 2 * 2 * 3


#: Module -> its text, of each plugin in docs/extending.md; the first line names it.
PLUGINS = {match.group(1): text for text in blocks(EXTENDING, "python") if (match := re.match(r"# (\w+)\.py", text))}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Component]]:
    """Module -> the component that it defines; afterwards they are forgotten."""
    scenario_type()
    plots.figures()
    place, before = tmp_path_factory.mktemp("guide"), {name: dict(f.members) for name, f in families().items()}
    found: dict[str, Component] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        for module, text in PLUGINS.items():
            (place / f"{module}.py").write_text(text, encoding="utf-8")
            made = importlib.import_module(module)
            (found[module],) = (family.members[module] for family in families().values() if module in family.members)
            assert found[module].__module__ == made.__name__
        yield found
    for name_, family in families().items():
        family.members.clear()
        family.members.update(before[name_])
    for module in PLUGINS:
        sys.modules.pop(module, None)


def test_every_example_is_a_component_of_the_name_of_its_file(plugins: dict[str, Component]) -> None:
    assert set(plugins) == {"local_only", "relay", "keep_half", "rtt_share", "stop_and_wait", "midrange", "magnify", "patient",
                            "most_frequent", "delays"}  # fmt: skip


@pytest.mark.parametrize("changes", [
    ("protocol={kind: local_only, rounds: 2, local_steps: 2}",),
    ("protocol={kind: relay, rounds: 1, local_steps: 1}", "network.transport={kind: stop_and_wait, window: 4000.0}"),
    ("protocol={kind: elsa, rounds: 1, local_steps: 1}", "codec.activation=[{kind: keep_half}]", "network.model=rtt_share"),
    ("protocol={kind: fedavg, rounds: 2, local_steps: 1, selection: {kind: patient, clients: 2}}",),
    ("protocol={kind: fedavg, rounds: 2, local_steps: 1, aggregation: midrange}",
     "unreliable={clients: {client0: {kind: magnify, factor: 10}}}"),
    ("protocol={kind: elsa, rounds: 1, local_steps: 1}",
     "privacy={tokens: 100, known_texts: 2, attacks: [nearest_mean, most_frequent]}"),
])  # fmt: skip
def test_examples_play(plugins: dict[str, Component], changes: tuple[str, ...]) -> None:
    checks.check(loaded(*changes))
    made = played(*changes)
    assert made.summary["invariants"] == "hold"
    assert {"delays", "timeline"} <= set(plots.figures())
    assert plots.draw("delays", made).get_ylabel() == "Mean time on the way (s)"
