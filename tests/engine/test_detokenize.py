from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlm.engine.detokenize import Utf8Stream


def decode(pieces: list[bytes]) -> list[str]:
    stream = Utf8Stream()
    return [*(stream.push(piece) for piece in pieces), stream.flush()]


def test_a_character_comes_with_its_last_byte():
    assert decode([b"\xf0\x9f", b"\x98", b"\x80!"]) == ["", "", "😀!", ""]


def test_bytes_that_are_no_character_become_the_replacement_character():
    assert "".join(decode([b"a\xff", b"b"])) == "a\ufffdb"


def test_an_unfinished_character_at_the_end_becomes_the_replacement_character():
    assert decode([b"a\xe4\xbd"]) == ["a", "\ufffd"]


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_any_cut_gives_the_same_text_as_no_cut(data: bytes, cuts: list[int]):
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert "".join(decode(pieces)) == data.decode("utf-8", "replace")
