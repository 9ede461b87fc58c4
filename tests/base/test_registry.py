"""Options and components: what registers, what is refused, and how plugins fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from elsa_sim.base import registry
from elsa_sim.base.errors import InputError
from elsa_sim.base.registry import (
    Component,
    Items,
    Options,
    choice,
    discover,
    families,
    load_entry_points,
    load_plugin,
    summary,
)


class Shape(Component):
    """A family for these tests; without a name, so it is not listed."""

    family: ClassVar[str] = ""
    kind: str


class Circle(Shape):
    """A circle.

    More about circles.
    """

    kind: Literal["circle"] = "circle"
    radius: float = 1.0
    """Its radius."""


class Square(Shape):
    """A square."""

    kind: Literal["square"] = "square"
    side: float


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_defining_a_component_registers_it() -> None:
    assert Shape.members == {"circle": Circle, "square": Square}
    assert Circle.members is Shape.members
    assert Component.members == {}
    assert summary(Circle) == "A circle."
    assert summary(type("Bare", (), {})) == ""


def test_an_abstract_class_in_between_is_no_member() -> None:
    class _Round(Shape):
        radius: float = 2.0

    assert set(Shape.members) == {"circle", "square"}


def test_a_second_component_of_one_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"kind 'circle' is defined twice: in .*test_registry and .*test_registry"):

        class Disc(Shape):
            kind: Literal["circle"] = "circle"

    with pytest.raises(InputError, match="kind 'circle' is defined twice"):

        class Bigger(Circle):
            radius: float = 9.0

    assert Shape.members["circle"] is Circle


def test_the_same_class_may_be_defined_again() -> None:
    """A module that is loaded again, as notebooks do, replaces its own components."""

    def define(default: int) -> type[Shape]:
        class Star(Shape):
            kind: Literal["star"] = "star"
            points: int = default

        return Star

    try:
        define(5)
        again = define(6)
        assert Shape.members["star"] is again
    finally:
        Shape.members.pop("star", None)


def test_a_choice_is_told_apart_by_kind() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(choice(Shape))
    assert adapter.validate_python({"kind": "circle", "radius": 2.0}) == Circle(radius=2.0)
    assert adapter.validate_python({"kind": "square", "side": 3.0}) == Square(side=3.0)
    for wrong in (
        {"kind": "oval"},
        {"radius": 1.0},
        {"kind": "circle", "side": 1.0},
        {"kind": "square"},
        "circle",
        None,
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_a_choice_of_one_is_that_one() -> None:
    class Lone(Component):
        family: ClassVar[str] = ""
        kind: str

    class Only(Lone):
        kind: Literal["only"] = "only"

    assert choice(Lone) is Only


def test_options_are_frozen_strict_and_closed() -> None:
    circle = Circle()
    with pytest.raises(ValidationError, match="frozen"):
        circle.radius = 3.0  # type: ignore[misc]
    for wrong in (
        {"radius": "1"},
        {"raduis": 1.0},
        {"radius": float("nan")},
        {"radius": float("inf")},
        {"radius": None},
    ):
        with pytest.raises(ValidationError):
            Circle.model_validate(wrong)
    assert hash(Circle()) == hash(Circle())
    assert Circle.model_json_schema()["properties"]["radius"]["description"] == "Its radius."


def test_sequences_of_a_file_become_tuples() -> None:
    class Rows(Options):
        sizes: Items[tuple[int, ...]]

    assert Rows.model_validate({"sizes": [1, 2]}).sizes == (1, 2)
    for wrong in ("12", 3, [1, "x"]):
        with pytest.raises(ValidationError):
            Rows.model_validate({"sizes": wrong})


def test_every_family_lists_its_kinds() -> None:
    for package in ("elsa_sim.codecs", "elsa_sim.links", "elsa_sim.learning.tasks", "elsa_sim.protocols"):
        discover(package)
    known = families()
    assert "" not in known
    assert {"codec", "task", "protocol"} <= set(known)
    assert {"sketch", "ssop", "float16", "int8"} <= set(known["codec"].members)
    assert {"elsa", "splitfed_v1", "fedavg", "centralized"} <= set(known["protocol"].members)
    for family in known.values():
        for kind, member in family.members.items():
            assert member.model_fields["kind"].default == kind
            if member.__module__.startswith("elsa_sim."):
                assert summary(member), f"{member.__name__} says nothing about itself"


# Plugins ------------------------------------------------------------------------------------------------------------


def test_a_plugin_registers_what_it_defines(plugins: Path) -> None:
    (plugins / "plugin_of_shapes.py").write_text(
        "from typing import Literal\n"
        "from elsa_sim.base.registry import Component\n"
        "base = next(c for c in Component.__subclasses__() if c.__name__ == 'Shape' and 'circle' in c.members)\n"
        "class Hexagon(base):\n"
        "    kind: Literal['hexagon'] = 'hexagon'\n",
        encoding="utf-8",
    )
    try:
        load_plugin("plugin_of_shapes")
        assert Shape.members["hexagon"].__module__ == "plugin_of_shapes"
        load_plugin("plugin_of_shapes")
    finally:
        Shape.members.pop("hexagon", None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("assert False, 'not today'", "AssertionError: not today"),
        ("\0", "SyntaxError|ValueError"),  # by the version of Python
    ],
)
def test_a_plugin_that_fails_is_an_input_error(plugins: Path, source: str, reason: str) -> None:
    (plugins / "plugin_that_fails.py").write_text(source, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_plugin("plugin_that_fails")
    said = tuple(f"plugin 'plugin_that_fails' cannot be imported: {each}" for each in reason.split("|"))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("name", ["", ".", ".relative", "no such module", "a/b.py", "nowhere.at.all", "x\0y"])
def test_a_name_that_is_no_module_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match=r"there is no plugin|cannot be imported"):
        load_plugin(name)


def test_an_interrupt_is_not_an_input_error(plugins: Path) -> None:
    (plugins / "plugin_interrupted.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        load_plugin("plugin_interrupted")


def test_installed_plugins_are_found_by_their_entry_point(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plugins / "installed_plugin.py").write_text("LOADED = True", encoding="utf-8")
    asked: list[str] = []

    def entry_points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("mine", "installed_plugin", group)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    load_entry_points()
    assert asked == ["elsa_sim.plugins"]
    assert sys.modules["installed_plugin"].LOADED


def test_discovery_imports_every_module_of_a_package(plugins: Path) -> None:
    package = plugins / "package_of_plugins"
    package.mkdir()
    for name in ("__init__", "one", "two"):
        (package / f"{name}.py").write_text("", encoding="utf-8")
    discover("package_of_plugins")
    assert {"package_of_plugins.one", "package_of_plugins.two"} <= set(sys.modules)
