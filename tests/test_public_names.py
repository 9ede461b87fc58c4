"""The public names: two tables, what they say is there, and examples that need no other name."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import elsa_sim
from elsa_sim import plugins

ROOT = Path(__file__).parents[1]
#: What users and examples rely on.
NAMES = {
    *("Codec", "LinkModel", "Partition", "Protocol", "Task", "TopologySource", "World", "Observer"),
    *("Divergence", "ElsaError", "InputError", "InvariantViolation", "RunFailed", "ScenarioError"),
    *("Comparison", "Results", "Scenario", "__version__", "check", "compare"),
    *("load_results", "load_scenario", "plots", "resume", "run"),
}
#: What plugins may import beside the public names.
OTHERS = {
    "__future__",
    "collections",
    "functools",
    "itertools",
    "math",
    "matplotlib",
    "numpy",
    "pydantic",
    "torch",
    "typing",
}


def test_the_table_is_what_users_rely_on() -> None:
    assert sorted(elsa_sim.__all__) == sorted(NAMES)
    assert dir(elsa_sim) == sorted(NAMES)


@pytest.mark.parametrize("module", [elsa_sim, plugins])
def test_every_name_is_there_and_says_what_it_is(module: ModuleType) -> None:
    for name in module.__all__:
        item = getattr(module, name)
        alias = typing.get_origin(item) is not None  # Verb, Seconds: an alias has no docstring of its own
        assert alias or isinstance(item, str) or item.__doc__, name


@pytest.mark.parametrize("module", [elsa_sim, plugins])
def test_type_checkers_see_the_same_names(module: ModuleType) -> None:
    (block,) = (node for node in ast.parse(source(module)).body
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")  # fmt: skip
    shown = {alias.asname or alias.name: (node.module, alias.name) for node in block.body
             if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    assert set(shown) | {"__version__"} == {*module.__all__, "__version__"}
    for name, (where, called) in shown.items():
        seen = importlib.import_module(f"elsa_sim.{where}")
        item = getattr(seen, called) if hasattr(seen, called) else importlib.import_module(f"elsa_sim.{where}.{called}")
        assert item is getattr(module, name) or name == "run", name


def test_run_is_the_function_although_a_room_has_its_name() -> None:
    """Importing `elsa_sim.run.simulation` binds `elsa_sim.run` to the package."""
    from small_runs import loaded

    assert isinstance(importlib.import_module("elsa_sim.run"), ModuleType)
    for _ in range(2):
        assert elsa_sim.run(loaded("execution.mode=timing", "protocol.rounds=1")).summary["invariants"] == "hold"


def source(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text(encoding="utf-8")


def test_every_family_is_public() -> None:
    from elsa_sim.base.registry import families
    from elsa_sim.scenario.model import scenario_type

    scenario_type()
    public = {getattr(plugins, name) for name in plugins.__all__ if isinstance(getattr(plugins, name), type)}
    assert [name for name, family in families().items() if family not in public] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(elsa_sim, "nothing_of_the_kind")
    with pytest.raises(AttributeError, match=r"module 'elsa_sim\.plugins' has no attribute 'Protocoll'"):
        _ = plugins.Protocoll


def test_importing_the_package_is_light() -> None:
    heavy = "('torch', 'transformers', 'pandas', 'simpy', 'pydantic')"
    code = f"import sys, elsa_sim, elsa_sim.plugins; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def examples() -> Iterator[tuple[str, str]]:
    """Where a plugin is shown, and its text: in the docs, and in the tests that define some as texts."""
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))):
        for block in re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            yield str(path.relative_to(ROOT)), block
    for path in sorted(ROOT.glob("tests/test_extension*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\nclass " in node.value:
                yield str(path.relative_to(ROOT)), node.value


def test_examples_of_plugins_import_public_names_only() -> None:
    found = list(examples())
    assert {where for where, _ in found} >= {"README.md", "docs/extending.md", "tests/test_extension.py"}
    for where, text in found:
        for node in ast.walk(ast.parse(text)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in modules:
                assert name in ("elsa_sim", "elsa_sim.plugins") or name.split(".")[0] in OTHERS, f"{where}: {name}"
