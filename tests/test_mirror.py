"""The rules of the house that a reader of one file cannot see: every module is tested where one looks for it, and more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "elsa_sim"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))
#: Modules whose tests are still to be named. To be emptied; nothing is to be added.
PENDING: set[str] = set()
#: Modules that are still too long. To be emptied; nothing is to be added.
LONG: set[str] = set()
MOST_LINES = 300
#: What a value named ``kind`` may be compared with, and why it does not choose a member of a family.
NO_FAMILY = {
    "a message": {"activation", "gradient", "adapters"},
    "a row of the event table": {"compute", "transfer", "aggregation", "evaluation", "fault", "update", "selection"},
    "a fault of pydantic": {
        "extra_forbidden", "missing", "union_tag_not_found", "union_tag_invalid", "literal_error", "value_error",
        "assertion_error", "string_too_short", "too_short", "string_too_long", "too_long",
    },
    "how a channel fades: an option with three values": {"none", "flat", "selective"},
}  # fmt: skip
WORDS = set().union(*NO_FAMILY.values())
#: ``module:string`` of comparisons that are still to go into the registry. To be emptied; nothing is to be added.
KINDS: set[str] = set()


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def lacking(module: str) -> str | None:
    """Why it is not plain where a module is tested, if so."""
    path = Path(module)
    mirror = ROOT / "tests" / path.relative_to("elsa_sim").with_name(f"test_{path.name}")
    said = " ".join((ast.get_docstring(tree(module)) or "").split())
    sentence = re.search(r"Tested in ((?:tests/[\w/]+\.py(?:, | and )?)+)", said)
    named = re.findall(r"tests/[\w/]+\.py", sentence.group(1)) if sentence else []
    if not named:
        return None if mirror.exists() else f"no {mirror.relative_to(ROOT)}, and no line 'Tested in tests/….py'"
    missing = [test for test in named if not (ROOT / test).is_file()]
    if missing:
        return f"it names {missing[0]}, which is not there"
    return None


def test_a_module_is_tested_by_the_file_of_its_name_or_says_where() -> None:
    told = {module: lacking(module) for module in MODULES if not module.endswith(("__init__.py", "__main__.py"))}
    assert {module: why for module, why in told.items() if why and module not in PENDING} == {}
    assert {module for module in PENDING if not told.get(module)} == set(), "no longer pending: take it off the list"


def test_the_top_level_is_folders() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "version.py", "py.typed"}


def test_no_module_is_long() -> None:
    long = {m for m in MODULES if len((ROOT / m).read_text(encoding="utf-8").splitlines()) > MOST_LINES}
    assert long == LONG


@cache
def classes_of_protocols() -> set[str]:
    return {
        node.name
        for module in MODULES
        if module.startswith("elsa_sim/protocols/")
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
    }


def names_in(node: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} | {
        each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)
    }


#: ``module:class`` of type tests that are still to go. To be emptied; nothing is to be added.
TYPES: set[str] = set()


def test_nobody_asks_which_protocol_it_is() -> None:
    found = {
        f"{module}:{name}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("isinstance", "issubclass")
        for name in names_in(node.args[1]) & classes_of_protocols()
    }
    assert found == TYPES


def compared_with_a_kind(module: str) -> Iterator[str]:
    """The strings that something named ``kind`` is compared with."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            sides = [
                node.subject,
                *(case.pattern.value for case in node.cases if isinstance(case.pattern, ast.MatchValue)),
            ]
        else:
            continue
        if any("kind" in (getattr(side, "id", None), getattr(side, "attr", None)) for side in sides):
            values = [each for side in sides for each in getattr(side, "elts", [side])]
            yield from (each.value for each in values if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_no_member_of_a_family_is_told_by_its_name() -> None:
    found = {
        f"{module}:{word}"
        for module in MODULES
        if module != "elsa_sim/base/registry.py"
        for word in compared_with_a_kind(module)
        if word not in WORDS
    }
    assert found == KINDS


def test_the_library_prints_nothing() -> None:
    found = [
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found
