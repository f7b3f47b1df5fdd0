"""Bodies that a stranger wrote."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.server.errors import ApiError
from mlm.server.strict_json import read_object
from mlm.strictjson import MAX_DEPTH


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return b'{"a":' + opening.encode() * (depth - 1) + closing.encode() * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{} {}",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 21 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 18446744073709551616}',
        b'{"a": -9223372036854775809}',
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 1}}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ["x", {"b": "\\ud83d oops"}]}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": "\x01"}',
        nested(MAX_DEPTH + 1),
        nested(5000),
        nested(200_000),
        nested(1000, '{"a":', "}"),
        b"[" * 1_000_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_ambiguous_or_absurd_is_refused(body: bytes):
    with pytest.raises(ApiError) as caught:
        read_object(body)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_request_error"
    assert "Traceback" not in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("value", [b"1", b"[]", b'{"a":1}', b'""', b"1.5", b'"[\\","'])
def test_a_body_of_very_many_values_is_refused_before_they_are_made(value: bytes):
    body = b'{"a": [' + b",".join([value] * 200_000) + b"]}"
    with pytest.raises(ApiError, match="values"):
        read_object(body)


def test_a_long_text_is_not_many_values():
    text = 'She said: "[1, 2, {3}]", and \\ left. ' * 200_000
    assert read_object(json.dumps({"a": text}).encode()) == {"a": text}


def test_the_deepest_allowed_nesting_is_read():
    assert read_object(nested(MAX_DEPTH))


def test_brackets_inside_text_are_not_nesting():
    text = "[{" * 500
    assert read_object(json.dumps({"a": text}).encode()) == {"a": text}


def test_whole_surrogate_pairs_are_characters():
    assert read_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_the_largest_numbers_are_read():
    body = b'{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e308}'
    assert read_object(body) == {"a": 2**64 - 1, "b": -(2**63), "c": 1e308}


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda children: st.lists(children) | st.dictionaries(st.text("abc é"), children),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=9), values, max_size=5))
def test_ordinary_json_comes_through_unchanged(document: dict[str, object]):
    assert read_object(json.dumps(document).encode()) == document


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_400(body: bytes):
    try:
        read_object(body)
    except ApiError as error:
        assert error.status == 400
