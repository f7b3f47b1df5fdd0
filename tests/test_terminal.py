"""Whatever somebody else wrote, the terminal only ever shows it."""

import json

from fakes.hostile_text import SEQUENCES, controls_in

from mlm.terminal import TerminalFilter, printable, printable_json


def test_a_hostile_sequence_vanishes_wherever_the_stream_is_cut():
    left = {}
    for name, sequence in SEQUENCES.items():
        text = f"before {sequence}after"
        for cut in range(len(text) + 1):
            stream = TerminalFilter()
            shown = stream.feed(text[:cut]) + stream.feed(text[cut:])
            if shown != "before after":
                left[name, cut] = shown
    assert left == {}


def test_there_are_enough_of_them():
    assert len(SEQUENCES) >= 300


def test_a_hostile_stream_may_come_one_character_at_a_time():
    stream = TerminalFilter()
    text = "".join(f"{sequence}." for sequence in SEQUENCES.values())
    assert "".join(map(stream.feed, text)) == "." * len(SEQUENCES)


def test_no_two_sequences_make_a_third():
    for first in SEQUENCES.values():
        together = "".join(f"{first}{second}." for second in SEQUENCES.values())
        assert printable(together) == "." * len(SEQUENCES)


def test_what_is_left_of_a_broken_sequence_cannot_command_either():
    for sequence in SEQUENCES.values():
        for end in range(len(sequence)):
            for start in range(end):
                assert controls_in(printable(f"{sequence[start:end]}text\n")) == set()


def test_honest_text_passes_untouched():
    text = "Zażółć\tgęślą\n日本語 👩‍👩‍👧 it's fine: [31m {}\n"
    assert printable(text) == text


def test_a_sequence_that_never_ends_takes_only_the_rest_of_its_line():
    assert printable("a\x1b]0;never closed\nb") == "a\nb"
    assert printable("a\x1b[31\nb") == "a\nb"
    assert printable("a\x1b\nb") == "a\nb"


def test_text_after_a_broken_sequence_is_kept():
    assert printable("\x1b[31é") == "é"
    assert printable("\x1b é") == "é"


def test_a_link_shows_its_text_and_leads_nowhere():
    assert printable("\x1b]8;;https://evil.example\x07click\x1b]8;;\x07 me") == "click me"


def test_nothing_that_was_written_can_be_taken_back():
    assert printable("rm -rf /\r\x1b[2Kls") == "rm -rf /ls"
    assert printable("evil\b\b\b\bgood") == "evilgood"


def test_a_lone_surrogate_cannot_break_printing():
    assert printable("a\ud800b").encode() == b"ab"


def test_json_keeps_its_meaning_but_not_its_controls():
    document = {"text": "\n".join(SEQUENCES.values())}
    safe = printable_json(json.dumps(document, indent=1, ensure_ascii=False))
    assert json.loads(safe) == document
    assert safe == printable(safe)
