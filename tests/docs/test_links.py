"""What the pages point at is there: links, headings, files, modules; and the front page is short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT, name

each_page = pytest.mark.parametrize("page", PAGES, ids=name)
#: Files that a run, a study or a user makes, and those that stand for any.
MADE = re.compile(
    r"^(runs/|cells/|figures/|(RUN_DIR/)?adapters/|(study|base|scenario)\.yaml|(state|summary|topology|trace|rounds|config|manifest|adapter_config)\.json|(elsa_sim|tests)/a/)"
)
#: Files and folders of the repository, from its root.
THERE = [path.relative_to(ROOT).as_posix() for folder in ("benchmarks", "docs", "elsa_sim", "notebooks", "scenarios", "tests",
         "topologies") for path in (ROOT / folder, *(ROOT / folder).rglob("*")) if "__pycache__" not in path.parts]  # fmt: skip
#: Rooms and words of an earlier house; the changelog alone may name them.
OLD = (
    "elsa_sim.wire", "elsa_sim.recorder", "elsa_sim.results.load", "learning.backbone_options", "learning.work", "learning/rows",
    "strands", "shipment", "crew", "lockstep", "census", "standing.py", "screens", "planning", "assembly", "optimising",
    "resources.needs", "water.py", "stage.py", "formulas.py", "participation.gather",
)  # fmt: skip


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        place = (page.parent / path) if path else page
        assert place.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, target


@each_page
def test_files_that_are_named_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"`([\w./*-]+/[\w./*-]*|[\w-]+\.(?:py|md|yaml|json|ipynb))`", text)
    for path in named:
        if MADE.match(path) or path.startswith("."):
            continue
        end = "/" + path.rstrip("/")
        assert (ROOT / path).exists() or any(f"/{there}".endswith(end) for there in THERE), path


@each_page
def test_modules_that_are_named_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    for dotted in re.findall(r"\belsa_sim(?:\.\w+)+", page.read_text(encoding="utf-8")):
        parts = dotted.split(".")
        if parts[1] in ("plugins", "plots") or len(parts) == 2:
            import elsa_sim

            made: object = elsa_sim
            for part in parts[1:3]:
                try:
                    made = getattr(made, part)
                except AttributeError:
                    made = None
            assert made is not None or (ROOT / "/".join(parts[:2])).exists(), dotted
            continue
        assert (ROOT / "/".join(parts)).with_suffix(".py").exists() or (ROOT / "/".join(parts)).is_dir(), dotted


@each_page
def test_no_page_speaks_of_the_old_house(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [word for word in OLD if word in text and page.name != "CHANGELOG.md"] == []


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
