"""A paste keeps its lines, and a huge one neither grows nor hangs."""

from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys

from mlm.repl.paste import MAX_INPUT_CHARS, BoundedParser

BEGIN, END = "\x1b[200~", "\x1b[201~"


def keys_of(*pieces: str) -> list[KeyPress]:
    pressed: list[KeyPress] = []
    parser = BoundedParser(pressed.append)
    for piece in pieces:
        parser.feed(piece)
    return pressed


def test_a_paste_is_one_key_wherever_it_is_cut():
    typed = f"a{BEGIN}one\ntwo{END}b"
    for cut in range(len(typed)):
        keys = keys_of(typed[:cut], typed[cut:])
        assert [key.data for key in keys] == ["a", "one\ntwo", "b"]
        assert keys[1].key is Keys.BracketedPaste


def test_a_paste_byte_by_byte_is_the_same():
    keys = keys_of(*f"{BEGIN}x\x1b[20y{END}{BEGIN}{END}z")
    assert [key.data for key in keys] == ["x\x1b[20y", "", "z"]


def test_of_an_endless_paste_no_more_is_kept_than_may_be():
    block = "x" * 4096
    pressed: list[KeyPress] = []
    parser = BoundedParser(pressed.append)
    parser.feed(BEGIN)
    for _ in range(10_000):  # 40 MB
        parser.feed(block)
    assert sum(map(len, parser._pasted)) == MAX_INPUT_CHARS + 1
    assert [len(key.data) for key in pressed] == [MAX_INPUT_CHARS + 1]  # that it is too long
    parser.feed(END + "b")
    assert [len(key.data) for key in pressed] == [MAX_INPUT_CHARS + 1, MAX_INPUT_CHARS + 1, 1]
