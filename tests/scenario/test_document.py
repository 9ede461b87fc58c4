"""Scenario files as documents: reading, lines, changes by --set, and where faults stand."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from elsa_sim.base.errors import Fault, ScenarioError
from elsa_sim.scenario.document import MAX_BYTES, Document, locate, override, parse, read

TEXT = """\
seed: 3
codec:
  activation:
    - kind: ssop
      rank: 8
    - {kind: sketch, rows: 3}
topology:
  access: {up: 1,
    down: 2}
"""


def fault_of(path: Path) -> Fault:
    with pytest.raises(ScenarioError) as caught:
        read(path)
    assert caught.value.source == str(path)
    (fault,) = caught.value.faults
    return fault


def test_a_file_is_read_with_its_folder_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    document = read(path)
    assert document.data["codec"]["activation"][1] == {"kind": "sketch", "rows": 3}
    assert document.lines[("codec", "activation", 1, "rows")] == 6
    assert document.folder == tmp_path
    assert document.source == str(path)
    assert document.faults == ()


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"", "expected a mapping of sections, such as `protocol: {kind: elsa}`, got nothing", None),
        (b"# only words\n", "got nothing", None),
        (b"[1, 2]", "got a list", None),
        (b"just words", "got 'just words'", None),
        (b"a: 1\n\xff: 2\n", "is not UTF-8: byte 0xff at offset 5", 2),
        ("protocol: elsa".encode("utf-16"), "is not UTF-8", 1),
        (b"x: " + b"y" * MAX_BYTES, "is larger than 1 MiB", None),
        (b"a: 1\n\x00", "the character U+0000 is not allowed", 2),
        (b"a: [", "not valid YAML", 1),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes, message: str, line: int | None) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    fault = fault_of(path)
    assert message in fault.message
    assert fault.line == line


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    assert "no such file" in fault_of(tmp_path / "none.yaml").message
    assert "no such file" in fault_of(tmp_path / "x" / "none.yaml").message
    assert "is a folder" in fault_of(tmp_path).message
    assert "cannot be read" in fault_of(tmp_path / "a\0b").message
    assert "cannot be read" in fault_of(tmp_path / ("x" * 5000)).message
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read" in fault_of(tmp_path / "loop").message


def test_a_file_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert fault_of(Path("a.yaml")).message == "cannot be read: Permission denied"


def test_faults_have_the_line_of_the_closest_parent() -> None:
    document = parse(TEXT)
    assert document.fault(("codec", "activation", 0, "rank"), "m") == Fault("codec.activation.0.rank", "m", 5)
    assert document.fault(("codec", "activation", 0, "x", "y"), "m") == Fault("codec.activation.0.x.y", "m", 4)
    assert document.fault(("codec", "gradient"), "m").line == 2
    assert document.fault(("protocol",), "m") == Fault("protocol", "m", None)
    assert document.fault((), "m") == Fault("", "m", None)


def test_faults_of_a_section_are_located() -> None:
    document = override(parse(TEXT), "topology.access.down=-1")
    assert locate([Fault("access.up", "a"), Fault("", "b"), Fault("edges", "c")], "topology", document) == [
        Fault("topology.access.up", "a", 8),
        Fault("topology", "b", 7),
        Fault("topology.edges", "c", 7),
    ]
    assert locate([Fault("access.down", "a")], "topology", document) == [
        Fault("topology.access.down", "a (from --set 'topology.access.down=-1')")
    ]
    assert locate([Fault("activation.1.rows", "a")], "codec", document)[0].line == 6


def test_keys_with_dots_are_located() -> None:
    document = parse("devices:\n  overrides:\n    pop.3.a:\n      speed: 4\n")
    assert locate([Fault("overrides.pop.3.a.speed", "m")], "devices", document)[0].line == 4
    assert locate([Fault("overrides.pop.3.a.memory", "m")], "devices", document)[0].line == 3


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=4", ["seed"], 4),
        (" seed = 4", ["seed"], 4),
        ("seed=", ["seed"], None),
        ("name=a=b", ["name"], "a=b"),
        ("protocol.lr=2e-3", ["protocol"], {"lr": 2e-3}),
        ("a.b.c={d: [1, 2]}", ["a", "b"], {"c": {"d": [1, 2]}}),
        ("codec.activation.0.rank=4", ["codec", "activation", 0], {"kind": "ssop", "rank": 4}),
        ("codec.activation.1={kind: x}", ["codec", "activation", 1], {"kind": "x"}),
        ("codec={}", ["codec"], {}),
        ("topology.access.up=20 Mbit/s", ["topology", "access"], {"up": "20 Mbit/s", "down": 2}),
    ],
)
def test_overrides(text: str, path: list[str], value: object) -> None:
    before = parse(TEXT)
    after = override(before, text)
    assert after.faults == ()
    made: object = after.data
    for key in path:
        made = made[key]  # type: ignore[index]
    assert made == value
    assert before.data == parse(TEXT).data


def test_overrides_count_in_their_order() -> None:
    document = override(override(parse(TEXT), "codec.activation=[{kind: a}]"), "codec.activation.0.kind=b")
    assert document.data["codec"] == {"activation": [{"kind": "b"}]}
    assert ("codec", "activation", 0, "rank") not in document.lines
    assert (
        document.fault(("codec", "activation", 0, "kind"), "m").message == "m (from --set 'codec.activation.0.kind=b')"
    )
    assert (
        document.fault(("codec", "activation", 0, "x"), "m").message == "m (from --set 'codec.activation=[{kind: a}]')"
    )
    again = override(document, "codec={}")
    assert again.fault(("codec", "activation", 0, "kind"), "m").message == "m (from --set 'codec={}')"


def test_what_an_override_creates_is_named_in_the_faults_of_its_parents() -> None:
    document = override(parse("name: x"), "seed.x=3")
    assert document.fault(("seed",), "m").message == "m (from --set 'seed.x=3')"
    assert document.fault(("stop",), "m").message == "m"


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("seed", "", "--set 'seed': expected key.path=value, such as protocol.rounds=3"),
        ("", "", "--set '': expected key.path=value"),
        ("=3", "", "--set '=3': expected key.path=value"),
        ("a..b=3", "", "expected key.path=value"),
        (".=3", "", "expected key.path=value"),
        ("a\nb=3", "", "expected key.path=value"),
        ("a\udc80=3", "", "--set 'a\\udc80=3': expected"),
        ("a=\udc80", "a", "the character U+DC80 is not allowed (from --set 'a=\\udc80')"),
        ("a=[1", "a", "not valid YAML: while parsing a flow sequence"),
        ("a={b: 1, b: 2}", "a.b", "the key 'b' is given twice"),
        ("a=!!set {b}", "a", "the YAML tag !!set is not allowed"),
        ("a=--- 1\n--- 2", "a", "a second document"),
        ("a=" + "[" * 1000, "a", "nested deeper"),
        ("codec.activation.2.rank=4", "", "codec.activation is a list without an element 2; valid: 0 to 1"),
        ("codec.activation.-1.rank=4", "", "codec.activation is a list without an element -1"),
        ("codec.activation.x=4", "", "codec.activation is a list without an element x"),
        ("codec.activation.\u00b2=4", "", "codec.activation is a list without an element \u00b2"),
        ("codec.activation." + "1" * 5000 + "=4", "", "codec.activation is a list without an element 11"),
        ("seed.x=3", "", "seed is 3 and has no keys"),
        (".".join(["a"] * 60) + "=3", ".".join(["a"] * 60), "nested deeper"),
    ],
)
def test_overrides_that_cannot_be_done(text: str, path: str, message: str) -> None:
    before = parse(TEXT)
    document = override(before, text)
    (fault,) = document.faults
    assert fault.path == path
    assert message in str(fault)
    assert fault.line is None
    assert str(fault).isprintable()
    assert document.data == before.data


def test_a_single_element_is_wrapped_with_its_lines() -> None:
    document = parse("codec:\n  activation:\n    kind: sketch\n    rows: 3\n").wrapped(("codec", "activation"))
    assert document.data == {"codec": {"activation": [{"kind": "sketch", "rows": 3}]}}
    assert document.fault(("codec", "activation", 0, "rows"), "m").line == 4
    assert document.fault(("codec", "activation", 0, "x"), "m").line == 2
    assert document.fault(("codec", "activation"), "m").line == 2
    changed = override(parse("a: 1"), "codec.activation={kind: x}").wrapped(("codec", "activation"))
    assert "--set" in changed.fault(("codec", "activation", 0, "kind"), "m").message


def test_a_document_may_be_empty() -> None:
    assert Document().fault(("a",), "m") == Fault("a", "m")
    assert locate([Fault("a", "m")], "b", Document()) == [Fault("b.a", "m")]
