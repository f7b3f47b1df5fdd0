import pytest

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


def test_after_the_end_nothing_more_comes():
    assert feed(["x"], ["axb", "c"]) == ("a", ["a", ""], True)


def test_an_empty_stop_string_stops_nothing():
    assert feed([""], ["ab"])[0] == "ab"
