"""Whatever source a scenario's plugins are made of is found, in every process the same, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import loaded

from elsa_sim.base.registry import Component, families, load_plugin
from elsa_sim.codecs.base import Codec
from elsa_sim.run.plugin_sources import plugin_sources

HALF = '''
from typing import Literal
from elsa_sim.plugins import Codec
{imports}

class {name}(Codec):
    """Nothing at all."""

    kind: Literal["{kind}"] = "{kind}"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which Python finds plugins, forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before, kinds = set(sys.modules), {family: dict(each.members) for family, each in families().items()}
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    for family, members in kinds.items():
        families()[family].members = members


def written(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def found(codec: str) -> set[str]:
    return set(plugin_sources(loaded(f"codec.adapters=[{codec}]").scenario))


def test_a_scenario_without_plugins_has_none() -> None:
    assert plugin_sources(loaded().scenario) == {}


def test_a_file_and_what_it_imports_from_beside_it(folder: Path) -> None:
    """Also where it does so later, and through other files; not what only happens to lie there, or is loaded."""
    imports = "import helper_one, os, numpy\ndef later():\n    from helper_package.deep import x\n"
    written(folder / "alone_plugin.py", HALF.format(imports=imports, name="Alone", kind="alone"))
    written(folder / "helper_one.py", "import helper_two\nimport alone_plugin\n")
    written(folder / "helper_two.py")
    written(folder / "helper_package/__init__.py")
    written(folder / "helper_package/deep.py")
    written(folder / "bystander.py", HALF.format(imports="", name="Other", kind="other"))
    load_plugin("alone_plugin")
    load_plugin("bystander")
    assert found("alone") == {"alone_plugin.py", "helper_one.py", "helper_two.py", "helper_package/__init__.py",
                              "helper_package/deep.py"}  # fmt: skip
    assert found("other") == {"bystander.py"}
    assert found("int8") == set()


def test_all_of_a_package_and_of_the_bases(folder: Path) -> None:
    written(folder / "base_plugin.py", "from elsa_sim.plugins import Codec\nclass Base(Codec):\n    pass\n")
    text = HALF.format(imports="from base_plugin import Base", name="Made", kind="made").replace("(Codec)", "(Base)")
    written(folder / "whole_plugin/__init__.py", "from . import codec\n")
    written(folder / "whole_plugin/codec.py", text)
    written(folder / "whole_plugin/sub/data.py")
    load_plugin("whole_plugin")
    assert found("made") == {"base_plugin.py", "whole_plugin/__init__.py", "whole_plugin/codec.py",
                             "whole_plugin/sub/data.py"}  # fmt: skip


def test_what_is_no_source_is_still_a_file(folder: Path) -> None:
    written(folder / "odd_plugin.py", HALF.format(imports="", name="Odd", kind="odd"))
    load_plugin("odd_plugin")
    (folder / "odd_plugin.py").write_bytes(b"\xff\xfe not Python")
    assert found("odd") == {"odd_plugin.py"}
    assert issubclass(Codec, Component)
