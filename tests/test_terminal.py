"""Whatever somebody else wrote, the terminal only ever shows it."""

import json

import pytest

from mlm.terminal import TerminalFilter, printable, printable_json

SEQUENCES = {
    "colour": "\x1b[31;1m",
    "clear screen": "\x1b[2J",
    "cursor style, with an intermediate": "\x1b[2 q",
    "private mode": "\x1b[?1049h",
    "window title": "\x1b]0;pwned\x07",
    "window title ended by ST": "\x1b]0;pwned\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "hyperlink": "\x1b]8;;https://example.org\x1b\\",
    "device control string": "\x1bP+q544e\x1b\\",
    "application program command": "\x1b_Gf=24;AAAA\x1b\\",
    "privacy message": "\x1b^secret\x1b\\",
    "start of string": "\x1bXsecret\x1b\\",
    "full reset": "\x1bc",
    "character set": "\x1b(0",
    "screen alignment": "\x1b#8",
    "8-bit CSI": "\x9b31m",
    "8-bit OSC": "\x9d0;pwned\x9c",
    "8-bit DCS": "\x90+q544e\x9c",
    "other C1": "\x84\x85\x8d\x9a",
    "aborted CSI": "\x1b[31\x18",
    "aborted string": "\x1b]0;pwned\x1a",
    "escape inside a sequence": "\x1b[31\x1b[0m",
    "bell and backspace": "\x07\x08\x08",
    "carriage return": "\r",
    "delete": "\x7f",
    "null": "\x00",
    "bidirectional override": "\u202e",
    "bidirectional isolate": "\u2066\u2069",
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_a_hostile_sequence_vanishes_wherever_the_stream_is_cut(sequence: str):
    text = f"before {sequence}after"
    for cut in range(len(text) + 1):
        stream = TerminalFilter()
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) == "before after"


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


def test_a_lone_surrogate_cannot_break_printing():
    assert printable("a\ud800b").encode() == b"ab"


def test_json_keeps_its_meaning_but_not_its_controls():
    document = {"text": "a\x9b31m\x7f\u202e\ud800\n"}
    safe = printable_json(json.dumps(document, indent=1, ensure_ascii=False))
    assert json.loads(safe) == document
    assert safe == printable(safe)
