from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.engine.stop import StopStrings


def feed(stops: list[str], pieces: list[str]) -> tuple[str, list[str], bool]:
    """Return all text, text by piece, and whether a stop string matched."""
    watch = StopStrings(stops)
    sent = [watch.push(piece) for piece in pieces]
    return "".join([*sent, watch.flush()]), sent, watch.matched


def test_without_stop_strings_text_passes_at_once():
    assert feed([], ["a", "b"]) == ("ab", ["a", "b"], False)


def test_text_ends_where_a_stop_string_begins():
    assert feed(["STOP"], ["one STOP two"]) == ("one ", ["one "], True)


@pytest.mark.parametrize("cut", range(1, 12))
def test_no_part_of_a_stop_string_leaks_wherever_tokens_cut_it(cut: int):
    text = "hello<|end|>!"
    assert feed(["<|end|>"], [text[:cut], text[cut:]])[0] == "hello"
    assert feed(["<|end|>"], list(text))[0] == "hello"


def test_what_looked_like_a_stop_string_and_was_none_is_sent():
    text, sent, matched = feed(["###"], ["a#", "#", "b", "#"])
    assert (text, sent, matched) == ("a##b#", ["a", "", "##b", ""], False)


def test_a_stop_string_that_overlaps_itself_is_found():
    assert feed(["aab"], list("aaab"))[0] == "a"


def test_the_earliest_of_several_stop_strings_wins():
    assert feed(["world", "lo"], ["hello world"])[0] == "hel"


def test_the_stop_string_that_is_complete_first_wins_also_within_a_longer_one():
    assert feed(["abcd", "bc"], ["abcd"])[0] == feed(["abcd", "bc"], list("abcd"))[0] == "a"


def test_of_stop_strings_that_end_together_the_longest_wins():
    assert feed(["cd", "abcd"], ["abcd"])[0] == feed(["cd", "abcd"], list("abcd"))[0] == ""


@given(
    st.text("ab", max_size=30),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 30), max_size=8),
)
def test_however_tokens_cut_a_text_it_ends_at_the_same_place(
    text: str, stops: list[str], cuts: list[int]
):
    pieces = [text[a:b] for a, b in pairwise([0, *sorted(cuts), len(text)])]
    whole, sent, matched = feed(stops, pieces)
    assert whole == feed(stops, [text])[0]
    assert matched == any(stop in text for stop in stops)
    assert text.startswith(whole) and not any(stop in whole for stop in stops)
    for end in range(len(sent)):  # what has been sent is never taken back, nor ends in a stop
        so_far, seen = "".join(sent[:end]), "".join(pieces[:end])
        assert whole.startswith(so_far)
        if not any(stop in seen for stop in stops):
            held = seen.removeprefix(so_far)
            assert not held or any(stop.startswith(held) for stop in stops)


def test_after_the_end_nothing_more_comes():
    assert feed(["x"], ["axb", "c"]) == ("a", ["a", ""], True)


def test_an_empty_stop_string_stops_nothing():
    assert feed([""], ["ab"])[0] == "ab"
