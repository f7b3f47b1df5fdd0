"""YAML that means what it looks like."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlm import strictyaml
from mlm.errors import ExitCode, NotFoundError
from mlm.strictyaml import MAX_BYTES, YamlError, load, parse, read

ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 10)
)

# (text, where the error is, a word of the reason)
BAD = [
    # references and bombs
    (ALIAS_BOMB, "1:5", "anchors"),
    ("a: &x 1\n", "1:4", "anchors"),
    ("&x a: 1\n", "1:1", "anchors"),
    ("a: 1\nb: *a\n", "2:4", "aliases"),
    ("- *a\n", "1:3", "aliases"),
    ("*a : 1\n", "1:1", "aliases"),
    ("a: &a [*a]\n", "1:4", "anchors"),
    ("a: &a\n  <<: *a\n", "1:4", "anchors"),
    ("<<: {a: 1}\n", "1:1", "merge"),
    ("b:\n  <<: [{a: 1}]\n", "2:3", "merge"),
    # tags and directives
    ("a: !!python/object/apply:os.system ['true']\n", "1:4", "tags"),
    ("!!python/name:os.system a: 1\n", "1:1", "tags"),
    ("a: !!str 1\n", "1:4", "tags"),
    ("a: !!int '1'\n", "1:4", "tags"),
    ("a: !local 1\n", "1:4", "tags"),
    ("a: ! 1\n", "1:4", "tags"),
    ("a: !!binary aGVsbG8=\n", "1:4", "tags"),
    ("!!set {a, b}\n", "1:1", "tags"),
    ("%YAML 1.1\n---\na: no\n", "1:1", "directives"),
    ("%TAG ! tag:example.com,2000:\n---\na: 1\n", "1:1", "directives"),
    ("%YAML 3.0\n---\na: 1\n", "1:1", "incompatible"),
    # keys
    ("a: 1\na: 2\n", "2:1", "twice"),
    ("a: 1\n'a': 2\n", "2:1", "twice"),
    ("x:\n  - {a: 1, b: 2, a: 3}\n", "2:18", "twice"),
    ("a:\n  b: 1\n  c: 2\n  b: 1\n", "4:3", "twice"),
    ("1: a\n", "1:1", "quotes"),
    ("1.5: a\n", "1:1", "quotes"),
    ("true: a\n", "1:1", "quotes"),
    ("null: a\n", "1:1", "quotes"),
    ("~: a\n", "1:1", "quotes"),
    ("? [a, b]\n: c\n", "1:3", "list"),
    ("? {a: b}\n: c\n", "1:3", "mapping"),
    ("{[a]: b}\n", "1:2", "list"),
    # numbers
    ("a: .inf\n", "1:4", "finite"),
    ("a: -.Inf\n", "1:4", "finite"),
    ("a: .nan\n", "1:4", "finite"),
    ("a: 1e999\n", "1:4", "finite"),
    ("a: 9223372036854775808\n", "1:4", "64 bits"),
    ("a: -9223372036854775809\n", "1:4", "64 bits"),
    ("a: 0xffffffffffffffff\n", "1:4", "64 bits"),
    ("a: " + "9" * 5000 + "\n", "1:4", "64 bits"),
    ("a: 0o" + "7" * 5000 + "\n", "1:4", "64 bits"),
    # shape
    ("a: 1\n---\nb: 2\n", "2:1", "second document"),
    ("---\n---\n", "2:1", "second document"),
    ("[" * 30 + "]" * 30, "1:22", "deeper"),
    ("{a: " * 30 + "1" + "}" * 30, "1:85", "deeper"),
    ("- " * 30 + "1\n", "1:43", "deeper"),
    ("[" * 100_000, "1:22", "deeper"),
    ("a: " + "x" * MAX_BYTES, "1:1", "longer than"),
]

# (text, line of the error): not YAML at all; the words are the parser's own
BROKEN = [
    ("a: [1, 2\n", 2),
    ("a: {b: 1\n", 2),
    ("a: 'b\n", 2),
    ('a: "\\q"\n', 1),
    ("a: b: c\n", 1),
    ("a: 1\n b: 2\n", 2),
    ("a:\n\t- 1\n", 2),
    ("- a\nb: 1\n", 2),
    ("a: `b`\n", 1),
    ("a: @b\n", 1),
    ("a: %b\n", 1),
    ("key: |9x\n  text\n", 1),
    ("a: ]\n", 1),
    ("a: \x00\n", 1),
    ("a: 1\nb: \x1b[31m\n", 2),
    ("a: 1\nb: \ud800\n", 2),
    ("a: \x7f\n", 1),
    ("\x1f\x8b\x08\x00gzip", 1),
]


@pytest.mark.parametrize(("text", "where", "reason"), BAD)
def test_a_bad_document_is_refused_with_its_place_and_the_reason(text, where, reason):
    with pytest.raises(YamlError) as raised:
        load(text, source="models.yaml")

    assert raised.value.exit_code == ExitCode.USAGE
    assert raised.value.message.startswith(f"models.yaml:{where}: "), raised.value.message
    assert reason in raised.value.message


@pytest.mark.parametrize("parser", sorted({strictyaml._PARSER, yaml.SafeLoader}, key=str))
@pytest.mark.parametrize(("text", "line"), BROKEN)
def test_what_is_not_yaml_is_refused_with_its_line(text, line, parser, monkeypatch):
    monkeypatch.setattr(strictyaml, "_PARSER", parser)
    with pytest.raises(YamlError, match=rf"^models\.yaml:{line}:\d+: \w"):
        load(text, source="models.yaml")


def test_the_corpus_is_large_enough():
    assert len(BAD) + len(BROKEN) >= 60


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("y", "y"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("-7", -7),
        ("+7", 7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("5027783488", 5027783488),
        ("9223372036854775807", 2**63 - 1),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("'no'", "no"),
        ('"null"', "null"),
        ("=", "="),
        ("Q4_K_M", "Q4_K_M"),
        ("1e5f", "1e5f"),
        ("'<<'", "<<"),
    ],
)
def test_plain_words_mean_what_they_look_like(text, value):
    loaded = load(f"- {text}\n", source="x")
    assert loaded == [value]
    assert type(loaded[0]) is type(value)


def test_an_empty_file_holds_nothing():
    assert load("", source="x") is None
    assert load("# only a comment\n", source="x") is None


def test_a_document_knows_where_each_part_stands():
    document = parse("a:\n  - x: 1\n    y: {z: 2}\n", source="f.yaml")

    assert document.value == {"a": [{"x": 1, "y": {"z": 2}}]}
    assert document.where(("a", 0, "y", "z")) == "f.yaml:3:9"
    assert document.where(("a", 0, "missing")) == "f.yaml:2:5"
    assert document.where(()) == "f.yaml:1:1"


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path):
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(YamlError, match=r"latin\.yaml:2:1: not UTF-8"):
        read(path)


def test_a_huge_file_is_refused_without_reading_it_all(tmp_path: Path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(YamlError, match="longer than 1024 KiB"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"cannot read .*nowhere\.yaml"):
        read(tmp_path / "nowhere.yaml")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path):
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read(path).value == {"a": 1, "b": 2}


@given(st.text(alphabet=st.sampled_from("ab1-:?{}[]&*!%|>'\"#,.@ \n\t~<\\"), max_size=60))
def test_whatever_is_written_the_answer_is_a_value_or_a_yaml_error(text):
    try:
        load(text, source="x")
    except YamlError as error:
        assert error.message.startswith("x:")
