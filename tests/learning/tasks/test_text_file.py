"""Texts from files: real ones, every format, and every way a file can be bad."""

from __future__ import annotations

import json
import os
from encodings.aliases import aliases
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.learning.tasks.base import Texts
from elsa_sim.learning.tasks.text_file import TextFile

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("ELSA_SIM_DATA") or ROOT / "../shared/data").resolve()
needs_data = pytest.mark.skipif(not DATA.is_dir() and not os.environ.get("CI"), reason=f"no data folder {DATA}")
CONTEXT = Context(Streams(7), DATA)


def file_task(**options: object) -> TextFile:
    return TextFile.model_validate({"train": "train", "test": "test", **options})


def read(folder: Path, train: str | bytes, test: str | bytes | None = None, seed: int = 7, **options: object) -> Texts:
    """Write both files (the test like the training file by default) and read the task."""
    for name, content in (("train", train), ("test", train if test is None else test)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return file_task(**options).read(Context(Streams(seed), folder))


def faults(folder: Path, *args: str | bytes, **options: object) -> list[tuple[str, str]]:
    with pytest.raises(InputFaults) as caught:
        read(folder, *args, **options)
    return [(fault.path, fault.message) for fault in caught.value.faults]


# Real files ---------------------------------------------------------------------------------------------------------


@needs_data
def test_trec_has_six_coarse_or_fifty_full_labels() -> None:
    options = {"train": "trec/train.txt", "test": "trec/test.txt", "format": "labelled_lines", "encoding": "latin-1"}
    texts = TextFile.model_validate(options).read(CONTEXT)
    assert texts.labels == ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
    assert (len(texts.train), len(texts.test)) == (5452, 500)
    assert texts.train.texts[0] == "How did serfdom develop in and then leave Russia ?"
    assert texts.labels[texts.train.labels[0]] == "DESC"
    assert texts.train.columns["label"][0] == "DESC:manner"
    assert sum("sister\xf0city" in text for text in texts.train.texts) == 1
    full = TextFile.model_validate({**options, "label_level": "full"}).read(CONTEXT)
    assert len(full.labels) == 50


@needs_data
def test_trec_in_the_wrong_encoding_names_the_byte_and_a_way_out() -> None:
    task = file_task(train="trec/train.txt", test="trec/test.txt", format="labelled_lines")
    with pytest.raises(InputFaults) as caught:
        task.read(CONTEXT)
    [fault] = caught.value.faults
    assert fault.path == "train"
    assert "byte 0xf0 at offset 3695 (line 66)" in fault.message
    assert "`encoding: latin-1`" in fault.message


@needs_data
def test_banking77_is_a_csv_with_header() -> None:
    task = file_task(train="banking77/train.csv", test="banking77/test.csv", format="csv", label_column="category")
    texts = task.read(CONTEXT)
    assert (len(texts.train), len(texts.test), len(texts.labels)) == (10003, 3080, 77)
    assert texts.labels[texts.train.labels[0]] == "card_arrival"


@needs_data
def test_ag_news_is_a_csv_without_header_split_by_the_seed() -> None:
    options = {"train": "ag_news/test_7600.csv", "test_fraction": 0.2, "format": "csv", "header": False,
               "label_column": 0, "text_column": [1, 2]}  # fmt: skip
    task = TextFile.model_validate({**options, "kind": "text_file"})
    texts = task.read(CONTEXT)
    assert texts.labels == ("1", "2", "3", "4")
    assert (len(texts.train), len(texts.test)) == (6080, 1520)
    joined = sorted(texts.train.texts + texts.test.texts)
    assert len(joined) == 7600
    assert task.read(CONTEXT).test.texts == texts.test.texts
    assert task.read(Context(Streams(8), DATA)).test.texts != texts.test.texts


@needs_data
def test_e2e_is_language_modelling_on_two_joined_columns() -> None:
    task = file_task(train="e2e/devset.csv", test="e2e/testset_w_refs.csv", format="csv", objective="causal_lm",
                     text_column=["mr", "ref"], text_separator=" => ")  # fmt: skip
    texts = task.read(CONTEXT)
    assert texts.labels == ()
    assert texts.train.labels is None
    assert len(texts.train) == 4672
    assert texts.train.texts[0].startswith("name[Alimentum], area[city centre], familyFriendly[no] => There is a place")
    assert len(set(texts.train.columns["mr"])) < 600


# Formats ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("text,label\nred cat,a\nblue dog,b\n", {"format": "csv"}),
        ("\ufefftext,label\r\n\r\nred cat,a\r\nblue dog,b\r\n", {"format": "csv"}),
        ('label;x;text\na;"1\n2";red cat\nb;;"blue dog"', {"format": "csv", "delimiter": ";"}),
        ("red cat\ta\nblue dog\tb\n", {"format": "tsv", "header": False, "text_column": 0, "label_column": 1}),
        ('{"text": "red cat", "label": "a"}\n\n{"label": "b", "more": [1], "text": "blue dog"}\n', {"format": "jsonl"}),
        ("a red cat\n\nb\tblue dog", {"format": "labelled_lines"}),
        ("a:1 red cat\nb:2 blue dog", {"format": "labelled_lines"}),
        ("a/1 red cat\nb/2 blue dog", {"format": "labelled_lines", "label_separator": "/"}),
    ],
)
def test_one_table_in_every_format(tmp_path: Path, content: str, options: dict[str, object]) -> None:
    for encoding in ("utf-8", "utf-16"):
        texts = read(tmp_path, content.encode(encoding), encoding=encoding, **options)
        assert texts.train.texts == ["red cat", "blue dog"]
        assert texts.train.labels.tolist() == [0, 1]
        assert texts.labels == ("a", "b")


def test_a_tsv_has_no_quoting_and_a_csv_has(tmp_path: Path) -> None:
    options = {"header": False, "text_column": 0, "label_column": 1}
    assert read(tmp_path, 'say "hi\ta\nb\tb', format="tsv", **options).train.texts[0] == 'say "hi'
    assert read(tmp_path, '"say ""hi"", you",a\nb,b', format="csv", **options).train.texts[0] == 'say "hi", you'


def test_latin_1_next_line_does_not_end_a_line(tmp_path: Path) -> None:
    texts = read(tmp_path, b"a one\x85two\nb three", format="labelled_lines", encoding="latin-1")
    assert texts.train.texts == ["one\x85two", "three"]


def test_integer_labels_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    texts = read(tmp_path, "".join(f"{i} text\n" for i in (10, 9, -1, 2)), format="labelled_lines")
    assert texts.labels == ("-1", "2", "9", "10")
    texts = read(tmp_path, "".join(f"{i} text\n" for i in ("10", "9", "x")), format="labelled_lines")
    assert texts.labels == ("10", "9", "x")


NFC, NFD = "\u00e9t\u00e9", "e\u0301te\u0301"


@pytest.mark.parametrize(
    ("train", "test", "names", "expected"),
    [
        (["0", "1", "2"], ["0.0", "1.0", "2.0"], ("0", "1", "2"), [0, 1, 2]),
        (["0", "1.0", "2", "0.0", "1", "2.00"], ["2", "+1", "-0"], ("0", "1", "2"), [2, 1, 0]),
        (["1e1", "9", "-1.5"], ["10", "9e0", "-15e-1"], ("-1.5", "9", "1e1"), [2, 1, 0]),
        (["123456789012345678901", "123456789012345678902"], ["123456789012345678902"],
         ("123456789012345678901", "123456789012345678902"), [1]),  # exactly, not as floats
        (["1", "01", "2"], ["01", "1"], ("01", "1", "2"), [0, 1]),  # codes
        (["1", "1.0", "x"], ["1.0", "1"], ("1", "1.0", "x"), [1, 0]),  # not all are numbers
        (["1", "inf"], ["inf"], ("1", "inf"), [1]),
        (["nan", "NA", "None", "null", "NaN"], ["null", "nan"], ("NA", "NaN", "None", "nan", "null"), [4, 3]),
        (["true", "True"], ["True", "true"], ("True", "true"), [0, 1]),
        ([NFC, NFD, "b"], [NFD, NFC], ("b", NFC), [1, 1]),
        ([" a\u00a0", "b"], ["a", "b "], ("a", "b"), [0, 1]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_which_labels_are_one_class(
    tmp_path: Path, train: list[str], test: list[str], names: tuple[str, ...], expected: list[int], form: str
) -> None:
    def table(labels: list[str]) -> str:
        if form == "csv":
            return "text,label\n" + "".join(f"some words,{label}\n" for label in labels)
        return "".join(json.dumps({"text": "some words", "label": label}) + "\n" for label in labels)

    texts = read(tmp_path, table(train), table(test), format=form)
    assert texts.labels == names
    assert texts.test.labels is not None
    assert texts.test.labels.tolist() == expected


def test_numbers_and_booleans_of_json_are_labels(tmp_path: Path) -> None:
    def lines(*labels: object) -> str:
        return "".join(json.dumps({"text": "x", "label": label}) + "\n" for label in labels)

    texts = read(tmp_path, lines(0, 1, 2, "0"), lines(0.0, 1.0, 2e0), format="jsonl")
    assert texts.labels == ("0", "1", "2")
    assert read(tmp_path, lines(True, False), lines("True"), format="jsonl").labels == ("False", "True")
    [(path, message)] = faults(tmp_path, lines(0, 1), lines("01"), format="jsonl")
    assert path == "test"
    assert "'01' (at line 1); valid: '0', '1'" in message


@pytest.mark.parametrize(
    ("labels", "notes"),
    [
        (["0", "1"], []),
        (["0", "0.0", "1"], ["all labels are numbers, and compared as numbers: '0', '0.0' are one class"]),
        (
            ["1", "01"],
            [
                "not all labels are numbers without leading zeros, so they are compared as text: '01', '1' are different classes"
            ],
        ),
        (["nan", "x"], ["'nan': a class of that name, not a missing label; only an empty cell is one"]),
    ],
)
def test_what_may_surprise_is_noted(tmp_path: Path, labels: list[str], notes: list[str]) -> None:
    content = "text,label\n" + "".join(f"some words,{label}\n" for label in labels)
    assert list(read(tmp_path, content, format="csv").notes) == notes


def test_columns_are_found_and_dealt_in_either_form_of_unicode(tmp_path: Path) -> None:
    texts = read(tmp_path, f"text,{NFD}\nx,{NFC}\ny,{NFD}\nz,b\n", format="csv", label_column=NFC)
    assert texts.labels == ("b", NFC)
    assert set(texts.train.columns[NFD]) == {NFC, "b"}


def test_labels_stay_whole_where_one_has_no_coarse_part(tmp_path: Path) -> None:
    assert read(tmp_path, "a:1 x\nb x", format="labelled_lines").labels == ("a:1", "b")
    assert read(tmp_path, "a:1 x\nb x", format="labelled_lines", label_level="coarse").labels == ("a", "b")


def test_limits_are_seeded_subsets_in_file_order(tmp_path: Path) -> None:
    content = "".join(f"{'ab'[i % 2]} text {i:03}\n" for i in range(100))
    texts = read(tmp_path, content, format="labelled_lines", train_limit=10, test_limit=1000)
    assert len(texts.train) == 10
    assert len(texts.test) == 100
    assert texts.train.texts == sorted(texts.train.texts)
    assert len(texts.train.columns["label"]) == len(texts.train.labels) == 10
    again = read(tmp_path, content, format="labelled_lines", train_limit=10)
    assert again.train.texts == texts.train.texts
    other = read(tmp_path, content, seed=8, format="labelled_lines", train_limit=10)
    assert other.train.texts != texts.train.texts


# Bad files ----------------------------------------------------------------------------------------------------------

CSV = "text,label\nred,a\nblue,b\n"
BAD = [
    (b"", {}, [("train", "empty")]),
    (b" \n\n", {}, [("train", "empty")]),
    ("text,label\n", {}, [("train", "no rows")]),
    ("text,label\nred,a\nblue,a\n", {}, [("train", "at least two classes")]),
    ("text,label\nred,\nblue, \ngreen,a\nx,b", {}, [("train", "no label (an empty cell) at lines 2, 3")]),
    ("text,label\n,a\n  ,b\nred,a", {}, [("train", "no text at lines 2, 3")]),
    ("text,label\n,\nred,a", {}, [("train", "no text at line 2"), ("train", "no label (an empty cell) at line 2")]),
    ("text,label\nred,a,x\nblue\n", {}, [("train", "not 2 fields at lines 2, 3")]),
    ("text,label,label\nred,a,x\n", {}, [("train", "'label' more than once")]),
    ('text,label\nred,a\n"blue,b\n', {}, [("train", "the row at line 3")]),
    ('text,label\n"re"d,a\n', {}, [("train", "the row at line 2")]),
    (CSV, {"text_column": "Text", "label_column": "lable"},
     [("text_column", "did you mean 'text'?"), ("label_column", "did you mean 'label'?")]),
    (CSV, {"text_column": 7}, [("text_column", "no column number 7; it has 2")]),
    (CSV, {"text_column": -1}, [("text_column", "no column number -1")]),
    (CSV, {"text_column": []}, [("text_column", "no column given")]),
    (CSV, {"header": False}, [("text_column", "no header"), ("label_column", "number from 0 to 1")]),
    (CSV, {"encoding": "latin-11"}, [("encoding", "did you mean 'latin_1'?")]),
    (CSV, {"encoding": "hex"}, [("encoding", "no text encoding")]),
    (CSV, {"encoding": "a\0b"}, [("encoding", "no text encoding")]),
    (b"text,label\nr\xe9d,a\n", {}, [("train", "byte 0xe9 at offset 12 (line 2)")]),
    (b"text,label\nr\0d,a\n", {}, [("train", "NUL character")]),
    ("text,label\n" + "x" * 200_000 + ",a\n", {}, [("train", "the row at line 2: field larger than field limit")]),
    ("a " + "x" * 200_000 + "\nb x", {"format": "labelled_lines"},
     [("train", "more than 131072 characters at line 1")]),
    ("a\nb x", {"format": "labelled_lines"}, [("train", "no text at line 1")]),
    ("[1]\n{}\n{", {"format": "jsonl"}, [("train", "no JSON object at lines 1, 3")]),
    ("[" * 100_000, {"format": "jsonl"}, [("train", "no JSON object at line 1")]),
    ('{"text": "x", "label": NaN}\n{"text": "y"}\n{"text": "z", "label": null}', {"format": "jsonl"},
     [("train", "no label (an empty cell) at lines 1, 2, 3")]),
    ('{"text": ["x"], "label": 1}\n{"text": "\\ud800", "label": 1}', {"format": "jsonl"},
     [("train", "column 'text': neither text nor a number at lines 1, 2")]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "options", "expected"), BAD)
def test_every_fault_of_a_file_is_reported_with_its_place(
    tmp_path: Path, content: str | bytes, options: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    found = faults(tmp_path, content, "text,label\nred,a\nblue,b\n", **{"format": "csv", **options})
    found = [(path, message) for path, message in found if path != "test" and not message.startswith("test has")]
    assert [path for path, _ in found] == [path for path, _ in expected], found
    for (_, message), (_, part) in zip(found, expected, strict=True):
        assert part in message


def test_both_files_are_checked_before_anything_is_reported(tmp_path: Path) -> None:
    found = faults(tmp_path, "text,label\n,a\nx,b\n", "text,label\ny,\n", format="csv")
    assert [path for path, _ in found] == ["train", "test"]


def test_a_missing_file_names_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputFaults) as caught:
        file_task(format="csv").read(Context(Streams(7), tmp_path))
    assert [fault.path for fault in caught.value.faults] == ["train", "test"]
    assert str(tmp_path / "train") in caught.value.faults[0].message


def test_test_labels_must_occur_in_training(tmp_path: Path) -> None:
    [(path, message)] = faults(tmp_path, "a x\nb y", "a x\nc y\nd z", format="labelled_lines")
    assert path == "test"
    assert "'c', 'd' (at lines 2, 3); valid: 'a', 'b'" in message


def test_a_fraction_that_leaves_nothing_for_training(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("a x")
    task = TextFile(train="train", test_fraction=0.5, format="labelled_lines")
    with pytest.raises(InputFaults, match=r"test_fraction: 0\.5 of 1 rows"):
        task.read(Context(Streams(7), tmp_path))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"test": None}, "test_fraction: 0.2"),
        ({"test_fraction": 0.2}, "exclude each other"),
        ({"label_level": "full"}, "label_level has no effect with format csv; it belongs to labelled_lines"),
        ({"format": "jsonl", "header": False}, "header has no effect with format jsonl"),
        ({"format": "tsv", "delimiter": ";"}, "delimiter has no effect"),
        ({"delimiter": '"'}, "cannot be the delimiter"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"test_fraction": 1.0}, "less than 1"),
        ({"text_column": True}, "text_column"),
        ({"colour": 1}, "colour"),
        ({"max_length": 1}, "max_length"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        file_task(**{"format": "csv", **options})


FORMATS = st.sampled_from(["csv", "tsv", "jsonl", "labelled_lines"])
ENCODINGS = st.sampled_from(sorted({*aliases.values(), "utf-8-sig", "idna", "punycode", "unicode_escape", "undefined"}))
VALUE = st.none() | st.floats() | st.text(max_size=5) | st.integers() | st.lists(st.none(), max_size=1)
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.text('ab:,;\t\n\r" {}[]\\0nul\x85\x00é', max_size=200).map(str.encode),
    st.lists(st.dictionaries(st.sampled_from(["text", "label", "x"]), VALUE), max_size=5).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    ),
)
COLUMNS = st.one_of(st.text(max_size=5), st.integers(-2, 3), st.lists(st.integers(0, 2), max_size=3))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=CONTENT,
    test=CONTENT,
    format=FORMATS,
    encoding=st.one_of(ENCODINGS, st.just("utf-8"), st.text(max_size=9)),
    columns=COLUMNS,
    header=st.booleans(),
    lm=st.booleans(),
)
@example(content=b"+2AA-,b", test=b"a,b", format="csv", encoding="utf-7", columns=[0], header=False, lm=False)
@example(content=b"a\nb,c", test=b"a\nb", format="csv", encoding="punycode", columns=0, header=False, lm=True)
def test_arbitrary_bytes_are_read_or_refused(
    tmp_path: Path, content: bytes, test: bytes, format: str, encoding: str, columns: object, header: bool, lm: bool
) -> None:  # fmt: skip
    objective = "causal_lm" if lm else "classification"
    options: dict[str, object] = {"format": format, "encoding": encoding, "objective": objective}
    if format in ("csv", "tsv"):
        options["header"] = header
    if format != "labelled_lines":
        options |= {"text_column": columns, "label_column": columns if not isinstance(columns, list) else 1}
    found: list[str] = []
    try:
        texts = read(tmp_path, content, test, **options)
    except InputFaults as error:
        found = [fault.path for fault in error.faults]
    assert set(found) <= set(TextFile.model_fields)
    if found:
        return
    for part in (texts.train, texts.test):
        assert part.texts
        assert all(text.strip() and text.encode() for text in part.texts)
        assert (part.labels is None) == lm
        assert all(len(values) == len(part) for values in part.columns.values())
        if part.labels is not None:
            assert len(texts.labels) >= 2
            assert set(part.labels.tolist()) <= set(range(len(texts.labels)))
