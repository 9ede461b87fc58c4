"""Faults of options: each with its place, what is wrong and what is valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import pytest
from pydantic import BaseModel, Field, model_validator

from elsa_sim.base.errors import ScenarioError
from elsa_sim.base.registry import Items, Options
from elsa_sim.base.units import Bandwidth, Seconds
from elsa_sim.scenario.document import Document, override, parse
from elsa_sim.scenario.validation import examine

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], document: Document) -> M:
    instance, faults = examine(model, document)
    if faults or instance is None:
        raise ScenarioError(document.source, faults)
    return instance


class Square(Options):
    kind: Literal["square"] = "square"
    side: float = Field(1.0, gt=0)


class Circle(Options):
    kind: Literal["circle"] = "circle"
    radius: float = Field(ge=0)
    square: int = 0


class Thing(Options):
    policy: Literal["only"] = Field("only", alias="policy")


Shape = Annotated[Square | Circle, Field(discriminator="kind")]


class Link(Options):
    gone: ClassVar[Mapping[str, str]] = {"rate": "write up"}
    up: Bandwidth
    latency: Seconds | None = None


class Top(Options):
    count: int = Field(3, ge=1, le=9, multiple_of=3)
    share: float = Field(0.5, lt=1)
    flag: bool = False
    text: str = Field("x", min_length=1, max_length=5)
    mode: Literal["real", "timing"] = "real"
    modes: Items[tuple[Literal["real", "timing"], ...]] = Field(("real",), min_length=1)
    shape: Shape = Square()
    shapes: Items[tuple[Shape, ...]] = ()
    pair: Items[tuple[int, Link]] | None = None
    names: Items[tuple[str, ...]] = Field((), max_length=2)
    either: int | Items[tuple[str, ...]] = 0
    links: dict[str, Link] = Field(default_factory=dict)
    anything: dict[str, dict[str, Any]] = Field(default_factory=dict)
    a: Link | None = None
    b: Link | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.flag and self.count == 9:
            raise ValueError("flag and count 9 exclude each other")
        return self


def faults(text: str, *changes: str) -> list[str]:
    document = parse(text)
    for change in changes:
        document = override(document, change)
    with pytest.raises(ScenarioError) as caught:
        validate(Top, document)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cuont: 3", "cuont: unknown key 'cuont'; did you mean 'count'? valid: count, share, flag, text, mode, modes, shape, "
                     "shapes, pair, names, either, links, anything, a, b"),
        ("count: '3'", "count: expected an integer, got '3'"),
        ("count: 3.0", "count: expected an integer, got 3.0"),
        ("count: true", "count: expected an integer, got true"),
        ("count: null", "count: expected an integer, got null"),
        ("count: {}", "count: expected an integer, got an empty mapping"),
        ("count: 0", "count: must be >= 1, got 0"),
        ("count: 12", "count: must be <= 9, got 12"),
        ("count: 4", "count: must be a multiple of 3, got 4"),
        ("share: 1", "share: must be < 1.0, got 1"),
        ("share: .nan", "share: expected a finite number, got nan"),
        ("share: 1e999", "share: expected a finite number, got inf"),
        ("share: half", "share: expected a number, got 'half'"),
        ("flag: yes", "flag: expected true or false, got 'yes'"),
        ("text: 3", "text: expected text, got 3"),
        ("text: ''", "text: must have at least 1 characters, has 0"),
        ("modes: []", "modes: must have at least 1 elements, has 0"),
        ("modes: [reel]", "modes.0: unknown modes 'reel'; did you mean 'real'? valid: real, timing"),
        ("text: abcdef", "text: must have at most 5 characters, has 6"),
        ("mode: tming", "mode: unknown mode 'tming'; did you mean 'timing'? valid: real, timing"),
        ("mode: [real]", "mode: expected one of real, timing, got a list"),
        ("shape: 3", "shape: expected a mapping with a kind, got 3; valid: square, circle"),
        ("shape: {kind: sqare}", "shape.kind: unknown kind 'sqare'; did you mean 'square'? valid: square, circle"),
        ("shape: {kind: [square]}", "shape.kind: expected one of square, circle, got a list"),
        ("shape: {side: 2}", "shape.kind: required, but not given; valid: square, circle"),
        ("shape: {kind: square, side: 0}", "shape.side: must be > 0.0, got 0"),
        ("shape: {kind: square, radius: 1}", "shape.radius: unknown key 'radius' (kind: square); valid: kind, side"),
        ("shape: {kind: circle}", "shape.radius: required, but not given"),
        ("shapes: {kind: square}", "shapes: expected a list, got a mapping"),
        ("shapes: [{kind: circle, radius: 1, square: x}]", "shapes.0.square: expected an integer, got 'x'"),
        ("shapes: [{kind: square, square: 1}]",
         "shapes.0.square: unknown key 'square' (kind: square); valid: kind, side"),
        ("pair: [1]", "pair.1: required, but not given"),
        ("pair: [1, {up: 1, rate: 2}]", "pair.1.rate: 'rate' is gone: write up"),
        ("pair: [1, {up: 1, dwon: 2}]", "pair.1.dwon: unknown key 'dwon'; valid: up, latency"),
        ("names: [a, 3]", "names.1: expected text, got 3"),
        ("names: [a, b, c]", "names: must have at most 2 elements, has 3"),
        ("either: x", "either: expected an integer or a list, got 'x'"),
        ("links: [1]", "links: expected a mapping, got a list"),
        ("links: {a: {}}", "links.a.up: required, but not given"),
        ("links: {a.b: {up: -1}}", "links.a.b.up: must be at least 0 and at most 1e+15 bit/s "
            "(all fibres of a cable together carry some 1e15), got -1"),
        ("anything: {a: 3}", "anything.a: expected a mapping, got 3"),
        ("a: {up: 3 parsecs}", "a.up: 'parsecs' is not a unit of bandwidth; valid: bit/s, "),
        ("b: {up: 1, latency: soon}", "b.latency: 'soon' is not a time; write a number and a unit, such as '10 ms'"),
        ("b: {up: [1]}", "b.up: expected a bandwidth such as '10 Mbit/s', got [1]"),
        ("a: 3", "a: expected a mapping, got 3"),
        ("flag: true\ncount: 9", "flag and count 9 exclude each other"),
    ],
)  # fmt: skip
def test_one_fault(text: str, fault: str) -> None:
    (found,) = faults(text)
    assert found.removeprefix("line 1: ").startswith(fault)
    if not fault.endswith(", "):
        assert found.removeprefix("line 1: ") == fault


def test_all_faults_in_the_order_of_lines() -> None:
    text = "text: 3\na: {up: 1}\nshape:\n  kind: circle\n  radius: -1\ncount: 0\ncount: 3\nzz: 1\n"
    assert faults(text, "mode=x") == [
        "line 1: text: expected text, got 3",
        "line 5: shape.radius: must be >= 0.0, got -1",
        "line 6: count: must be >= 1, got 0",
        "line 7: count: the key 'count' is given twice, first at line 6",
        "line 8: zz: unknown key 'zz'; valid: " + ", ".join(Top.model_fields),
        "mode: unknown mode 'x'; valid: real, timing (from --set 'mode=x')",
    ]  # fmt: skip


def test_what_could_not_be_read_is_not_said_to_be_missing() -> None:
    assert faults("shape: {kind: circle, radius: !!set {x}}\na: !!set {y}\nb: {up: !!binary eA==}") == [
        "line 1: shape.radius: the YAML tag !!set is not allowed; "
        "valid: text, numbers, true, false, null, lists, mappings",
        "line 2: a: the YAML tag !!set is not allowed; valid: text, numbers, true, false, null, lists, mappings",
        "line 3: b.up: the YAML tag !!binary is not allowed; valid: text, numbers, true, false, null, lists, mappings",
    ]  # fmt: skip


def test_a_key_that_is_no_text_hides_no_other_fault() -> None:
    assert faults("3: x\ncount: x\na: {4: x}") == [
        "line 1: the key 3 is not text; write it in quotes",
        "line 2: count: expected an integer, got 'x'",
        "line 3: a: the key 4 is not text; write it in quotes",
        "line 3: a.up: required, but not given",
    ]


def test_an_override_that_cannot_be_done_hides_only_its_own_place() -> None:
    assert faults("count: x\na: {}\nb: {}", "nonsense", "a.up=[", "b.up=!!set {x}") == [
        "line 1: count: expected an integer, got 'x'",
        "--set 'nonsense': expected key.path=value, such as protocol.rounds=3",
        "a.up: not valid YAML: while parsing a flow node, expected the node content, but found '<stream end>' "
        "(from --set 'a.up=[')",
        "b.up: the YAML tag !!set is not allowed; valid: text, numbers, true, false, null, lists, mappings "
        "(from --set 'b.up=!!set {x}')",
    ]
    assert faults("a: {up: !!set {x}, dwon: 1}", "a={up: 1, dwon: 2}") == [
        "line 1: a.up: the YAML tag !!set is not allowed; valid: text, numbers, true, false, null, lists, mappings",
        "a.dwon: unknown key 'dwon'; valid: up, latency (from --set 'a={up: 1, dwon: 2}')",
    ]
    assert len(faults("a: !!set {x}", "a={up: x}")) == 2


def test_faults_name_the_file() -> None:
    with pytest.raises(ScenarioError, match=r"^mine.yaml: 2 faults\n  line 1: count: .*\n  line 2: mode: "):
        validate(Top, parse("count: x\nmode: y", "mine.yaml"))


def test_valid_options_are_made() -> None:
    made = validate(
        Top, parse("share: 0\npair: [1, {up: 20 Mbit/s}]\nshapes: [{kind: square}]\nnames: [a]\neither: [b]")
    )
    assert made == Top(pair=(1, Link(up=20e6)), shapes=(Square(),), names=("a",), share=0.0, either=("b",))


def test_an_alias_is_the_key() -> None:
    with pytest.raises(ScenarioError) as caught:
        validate(Thing, parse("polcy: x"))
    assert caught.value.faults[0].message == "unknown key 'polcy'; did you mean 'policy'? valid: policy"
