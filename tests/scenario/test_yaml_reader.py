"""YAML to plain data: what is read as what, where it stands, and what is refused."""

from __future__ import annotations

import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from elsa_sim.scenario.yaml_reader import MAX_DEPTH, MAX_INTEGER, MAX_NODES, Reader, Unusable, brief, dotted, write


def read(text: str) -> object:
    reader = Reader()
    value = reader.read(text)
    assert reader.faults == []
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-3", 2e-3),
        ("2.0e-3", 2e-3),
        ("1e19", 1e19),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+1E+2", 100.0),
        ("12", 12),
        ("-0", 0),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        (str(MAX_INTEGER), MAX_INTEGER),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("'12'", "12"),
        ("20 ms", "20 ms"),
        ("1.2.3", "1.2.3"),
        ("e3", "e3"),
        ("nan", "nan"),
        ("=", "="),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    made = read(f"x: {text}")
    assert made == {"x": value}
    assert type(made["x"]) is type(value)  # type: ignore[index]


def test_nan_is_a_number() -> None:
    assert math.isnan(read("x: .nan")["x"])  # type: ignore[index]


def test_lines_are_those_of_keys_and_elements() -> None:
    reader = Reader()
    reader.read("a: 1\n\n# words\nb:\n  c: {d: 2,\n    e: 3}\n  f:\n  - 4\n  -\n    g: 5\n")
    assert reader.lines == {
        ("a",): 1,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "c", "d"): 5,
        ("b", "c", "e"): 6,
        ("b", "f"): 7,
        ("b", "f", 0): 8,
        ("b", "f", 1): 10,
        ("b", "f", 1, "g"): 10,
    }


def test_aliases_are_copies_and_merges_give_way() -> None:
    text = "link: &link {up: 1, down: [2]}\na: *link\nb: {<<: *link, up: 3}\nc: {up: 4, <<: [{up: 5, x: 6, down: 7}, *link]}\n"
    made = read(text)
    assert made == {
        "link": {"up": 1, "down": [2]},
        "a": {"up": 1, "down": [2]},
        "b": {"up": 3, "down": [2]},
        "c": {"up": 4, "x": 6, "down": 7},
    }
    assert made["a"]["down"] is not made["link"]["down"]  # type: ignore[index]


def test_a_merge_keeps_the_lines_of_own_keys() -> None:
    reader = Reader()
    reader.read("a: &a\n  up: 1\n  down: 2\nb:\n  up: 3\n  <<: *a\n")
    assert reader.lines[("b", "up")] == 5
    assert reader.lines[("b", "down")] == 3


@pytest.mark.parametrize(
    ("text", "path", "message", "line"),
    [
        ("a: 1\nb: 2\na: 3", "a", "the key 'a' is given twice, first at line 1", 3),
        ("a: {b: 1,\n c: 2, b: 3}", "a.b", "given twice, first at line 1", 2),
        ("a: 1\n3: x", "", "the key 3 is not text; write it in quotes", 2),
        ("a:\n  null: x", "a", "the key null is not text", 2),
        ("? [a, b]\n: c", "", "a key must be text; this one is a list or a mapping", 1),
        ('"a\\u0007": 1', "", "the key 'a\\x07' contains the character U+0007", 1),
        ('a: "\\0"', "a", "the character U+0000 is not allowed", 1),
        ('a: "\\ud800"', "a", "the character U+D800 is not allowed", 1),
        (f"a: {'9' * 100_000}", "a", "the integer 99", 1),
        (f"a: -{'9' * 19}", "a", "beyond 2^63; write large numbers as 1e19", 1),
        (f"a: 0x{'f' * 100_000}", "a", "beyond 2^63", 1),
        ("a: !!set {x, y}", "a", "the YAML tag !!set is not allowed", 1),
        ("a: !!binary aGk=", "a", "the YAML tag !!binary is not allowed", 1),
        ("a: !!timestamp 2024-01-01", "a", "the YAML tag !!timestamp is not allowed", 1),
        ("a: !!omap [x: 1]", "a", "the YAML tag !!omap is not allowed", 1),
        ("a: !!python/object/apply:os.system [true]", "a", "the YAML tag !!python/object/apply:os.system is not", 1),
        ("a: !!python/name:os.system ''", "a", "is not allowed", 1),
        ("a: !mine {x: 1}", "a", "the YAML tag !mine is not allowed", 1),
        ("a: !!map [1]", "a", "the YAML tag !!map is not allowed", 1),
        ("a: !!int x", "a", "'x' is not of the type int", 1),
        ("a: !!float x", "a", "'x' is not of the type float", 1),
        ("a: !!bool 1", "a", "'1' is not of the type bool", 1),
        ("a: {<<: 3}", "a.<<", "expected an alias of a mapping, such as *link", 1),
    ],
)
def test_faults_of_single_keys(text: str, path: str, message: str, line: int) -> None:
    reader = Reader()
    reader.read(text)
    (fault,) = reader.faults
    assert fault.path == path
    assert message in fault.message
    assert fault.line == line
    assert len(str(fault)) < 250
    assert str(fault).isprintable()


def test_every_fault_is_found_and_the_rest_is_read() -> None:
    reader = Reader()
    assert reader.read("a: 1\na: 2\n3: 4\nb: !!set {x}\nc: [!!set {y}, 5]") == {"a": 1, "c": [None, 5]}
    assert [fault.path for fault in reader.faults] == ["a", "", "b", "c.0"]
    assert reader.faulty == {("b",), ("c", 0)}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: [1\nb: 2", "not valid YAML: while parsing a flow sequence", 2),
        ("a: 1\n\tb: 2", "found character '\\t'", 2),
        ("a: *b", "found undefined alias", 1),
        ("a: 'x", "not valid YAML", 1),
        ('a: "\\UFFFFFFFF"', "not valid YAML", 1),
        (f"%YAML {'9' * 5000}.1\n---\na: 1", "not valid YAML", None),
        ("a: 1\n---\nb: 2", "a second document begins here", 2),
        ("a: 1\n\x07", "the character U+0007 is not allowed", 2),
        ("a: \ud800", "the character U+D800 is not allowed", 1),
        ("a: &a [*a]", "an alias that contains itself", 1),
        ("a: &a {b: *a}", "an alias that contains itself", 1),
        ("a: &a {<<: *a}", "an alias that contains itself", 1),
        ("a: " + "[" * 100_000, f"nested deeper than {MAX_DEPTH} levels", 1),
        ("\n".join(" " * depth + "a:" for depth in range(2 * MAX_DEPTH)), "nested deeper", MAX_DEPTH),
        (f"a: [{'1,' * MAX_NODES}]", f"more than {MAX_NODES} keys and values$", 1),
        ("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000)), "nested deeper", None),
        ("a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30)), "aliases", None),
        ("a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30)),
         "once aliases are expanded", None),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_used(text: str, message: str, line: int | None) -> None:
    begin = time.perf_counter()
    with pytest.raises(Unusable) as caught:
        Reader().read(text)
    assert message in caught.value.message + "$"
    assert line is None or caught.value.line == line
    assert time.perf_counter() - begin < 20.0


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
    | st.sampled_from(["no", "1e5", "0o17", "2024-01-01", "1:30", "null", "~", "", "<<", "=", "0x1f", ".5", "a\nb\t"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.<= \u00b5"), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(st.dictionaries(st.text("abc"), PLAIN))
def test_what_is_written_reads_back(data: dict[str, object]) -> None:
    assert read(write(data)) == data


def test_a_second_reading_by_another_reader_agrees() -> None:
    data = {"a": [1, 2.5, "1e5", "no", None, True], "b": {"c": "2 h"}}
    assert yaml.safe_load(write(data)) == data


def test_words_for_values_and_places() -> None:
    assert [brief(v) for v in ({}, {1: 2}, [], [1], None, True, "x", 1.5)] == [
        "an empty mapping", "a mapping", "an empty list", "a list", "null", "true", "'x'", "1.5"]  # fmt: skip
    assert len(brief("x" * 1000)) == 60
    assert dotted(("a", 0, "b c", "d\n", "")) == "a.0.b c.'d\\n'.''"
    assert len(dotted(("x" * 1000,))) == 60
