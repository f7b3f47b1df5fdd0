"""What a person can do while an answer comes, seen through a screen emulator."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.hostile_text import SEQUENCES, controls_in
from fakes.openai_server import OpenAIServer
from fakes.spectator import Spectator, at_terminal

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def terminal(server: OpenAIServer, tmp_path: Path) -> Iterator[Spectator]:
    with at_terminal("chat", "tiny", cwd=tmp_path, HOME=str(tmp_path)) as terminal:
        terminal.sees(">>>")
        yield terminal


def begins(server: OpenAIServer, *texts: str) -> threading.Event:
    """Have the server begin an answer so, and end it when the event is set."""
    goes_on = threading.Event()

    def reply(connection) -> None:
        for text in texts:
            piece = b'{"choices": [{"delta": {"content": "%b"}}]}' % text.encode()
            connection.wfile.write(b"data: " + piece + b"\n\n")
        goes_on.wait(30)
        connection.wfile.write(b"data: [DONE]\n\n")

    def stream(connection) -> None:
        connection.send_response(200)
        connection.end_headers()
        connection.close_connection = True
        reply(connection)

    server.does(stream)
    return goes_on


def questions(server: OpenAIServer) -> list[str]:
    bodies = [asked.body for asked in server.asked if asked.path == "/v1/chat/completions"]
    return [body["messages"][-1]["content"] for body in bodies]


def last_question(server: OpenAIServer) -> str:
    return questions(server)[-1]


def test_the_next_question_can_be_typed_and_sent_while_an_answer_comes(server, terminal):
    goes_on = begins(server, "Once upon a time")
    terminal.types("Tell me a story\r")
    terminal.sees("Once upon a time")
    terminal.types("And another\r")
    terminal.sees("next: And another")
    server.says("The end.")
    goes_on.set()
    terminal.sees("The end.")
    assert last_question(server) == "And another"
    assert "next:" not in terminal.text
    assert terminal.leaves() == 0
    told = terminal.everything
    assert told.index("Once upon") < told.index(">>> And another") < told.index("The end.")
    assert told.count("Once upon a time") == 1


def test_ctrl_c_stops_the_answer_and_keeps_what_was_typed(server, terminal):
    begins(server, "Once upon a time")
    terminal.types("Tell me a story\r")
    terminal.sees("Once upon a time")
    terminal.types("half a quest")
    terminal.sees("half a quest")
    terminal.types("\x03")
    terminal.sees("stopped")
    server.says("Fine.")
    terminal.types("ion\r")
    terminal.sees("Fine.")
    assert last_question(server) == "half a question"
    assert [m["content"] for m in server.asked[-1].body["messages"]][1] == "Once upon a time"


def test_ctrl_c_stops_an_answer_that_has_not_begun(server, terminal):
    begins(server)
    terminal.types("Tell me a story\r")
    terminal.sees("waiting for the first token")
    terminal.types("\x03")
    terminal.sees("stopped")


def test_an_answer_that_breaks_off_stays_and_can_be_had_again(server, terminal):
    server.breaks_off_after("Half an ans")
    terminal.types("Hi\r")
    terminal.sees("/retry asks again")
    assert "Half an ans\n\nerror: " in terminal.everything
    server.says("A whole answer.")
    terminal.types("/retry\r")
    terminal.sees("A whole answer.")


def test_a_resize_while_an_answer_comes_garbles_nothing(server, terminal):
    goes_on = begins(server, "A first paragraph.\\n\\n", "A second one that is still coming")
    terminal.types("Hi\r")
    terminal.sees("still coming")
    terminal.resizes(24, 50)
    terminal.types("x")
    terminal.sees(">>> x")
    goes_on.set()
    terminal.waits(lambda: "still coming" in terminal.text, "the answer is gone")
    terminal.types("\x7f/exit\r")
    assert terminal.ends() == 0
    assert terminal.everything.count("A first paragraph.") == 1
    assert terminal.everything.count("still coming") == 1


def test_a_narrower_window_leaves_no_lines_behind(server, terminal):
    words = [f"word{number:02}" for number in range(40)]
    goes_on = begins(server, " ".join(words))
    terminal.types("Hi\r")
    terminal.sees("word39")
    terminal.types("what is typed meanwhile")
    terminal.sees("meanwhile")
    for columns in (50, 30, 80):
        terminal.resizes(24, columns)
        terminal.types("!")
        terminal.waits(lambda: terminal.text.count("!") == 1, "drawn twice")
        terminal.types("\x7f")
        terminal.waits(lambda: "!" not in terminal.text, "not drawn anew")
    assert terminal.everything.count("what is typed") == 1
    goes_on.set()
    terminal.types("\x15/exit\r")
    assert terminal.ends() == 0
    assert [terminal.everything.count(word) for word in words] == [1] * len(words)


def test_a_terminal_that_cuts_its_lines_loses_nothing_of_what_was_said(server, tmp_path):
    said = [f"said{number:02}" for number in range(8)]
    with at_terminal("chat", "tiny", cwd=tmp_path, VTE_VERSION="") as terminal:
        terminal.sees(">>>")
        server.says("\n\n".join(said))
        terminal.types("Hi\r")
        terminal.sees(said[-1])
        terminal.types("what is typed " * 4)
        terminal.sees("typed what is typed")
        terminal.resizes(24, 30, cuts=True)
        terminal.types("!")
        terminal.sees("!")
        assert [terminal.everything.count(line) for line in said] == [1] * len(said)


def test_what_was_drawn_as_high_as_the_screen_is_not_kept_twice(server, terminal):
    words = [f"word{number:03}" for number in range(400)]
    goes_on = begins(server, *(f"{word} " for word in words))
    terminal.types("Hi\r")
    terminal.sees("word399")
    goes_on.set()
    assert terminal.leaves() == 0
    assert [terminal.everything.count(word) for word in words] == [1] * len(words)


def test_all_of_a_long_question_is_in_sight_below_an_answer_as_high_as_the_screen(server, terminal):
    begins(server, *(f"word{number:03} " for number in range(400)))
    terminal.types("Hi\r")
    terminal.sees("word399")
    terminal.types("first " + "and more " * 20 + "last")
    terminal.waits(lambda: "last" in terminal.text, "what is typed is not there")
    terminal.waits(lambda: "first" in terminal.text, "its beginning is not")


def test_ctrl_d_leaves_and_asks_nothing_that_still_waits(server, terminal):
    begins(server, "Once upon a time")
    terminal.types("Tell me a story\r")
    terminal.sees("Once upon a time")
    terminal.types("And another\r")
    terminal.sees("next: And another")
    assert terminal.leaves() == 0
    assert last_question(server) == "Tell me a story"


def test_what_still_waits_comes_back_to_be_thought_over_when_an_answer_is_stopped(server, terminal):
    begins(server, "Once upon a time")
    terminal.types("Tell me a story\r")
    terminal.sees("Once upon a time")
    terminal.types("And another\rAnd a third\r")
    terminal.sees("next: And another And a third")
    terminal.types("please\x03")
    terminal.sees("stopped")
    terminal.sees(">>> And another\n... And a third\n... please")
    assert "next:" not in terminal.text
    server.says("Fine.")
    terminal.types("\r")
    terminal.sees("Fine.")
    assert questions(server) == ["Tell me a story", "And another\nAnd a third\nplease"]


def test_a_tab_that_is_pasted_looks_like_one(server, terminal):
    terminal.types("\x1b[200~if x:\n\tpass\x1b[201~")
    terminal.sees("...     pass")
    terminal.types("\r")
    terminal.sees("Hello there")
    assert ">>> if x:\n...     pass\nHello there" in terminal.text
    assert last_question(server) == "if x:\n\tpass"


def test_code_taller_than_the_screen_is_complete_above_it(server, terminal):
    lines = [f"line {number:03}" for number in range(100)]
    goes_on = begins(server, "```\\n" + "\\n".join(lines) + "\\n```\\n", "Done.")
    terminal.types("Hi\r")
    terminal.sees("Done.")
    goes_on.set()
    assert terminal.leaves() == 0
    shown = [line.strip() for line in terminal.everything.splitlines() if "line " in line]
    assert shown == lines


def test_a_paste_that_is_too_long_names_the_way_out(server, terminal):
    terminal.types("\x1b[200~" + "x" * 300_000 + "\x1b[201~")
    terminal.sees("/attach FILE")
    terminal.types("Hi\r")
    terminal.sees("Hello there")
    assert last_question(server) == "Hi"


def test_vi_keys_work_where_they_are_wanted(server, tmp_path: Path):
    (tmp_path / ".inputrc").write_text("set editing-mode vi\n")
    with at_terminal("chat", "tiny", cwd=tmp_path, HOME=str(tmp_path)) as terminal:
        terminal.sees(">>>")
        terminal.types("world")
        terminal.sees(">>> world")
        assert b"\x1b[6 q" in terminal.raw  # a bar, where text is typed
        terminal.types("\x1b")
        terminal.waits(lambda: b"\x1b[2 q" in terminal.raw, "no block, where keys are commands")
        terminal.types("0iHello \r")
        terminal.sees("Hello there")
        assert last_question(server) == "Hello world"


def test_an_editing_mode_that_nobody_knows_is_refused(mlm, monkeypatch):
    monkeypatch.setenv("MLM_EDITING_MODE", "nano")
    result = mlm("chat", "tiny")
    assert result.exit_code == 2
    assert "export MLM_EDITING_MODE=vi" in result.stderr


def test_who_goes_on_sees_how_it_ended_as_it_looked_then(server, terminal):
    server.says("# Tides\n\n- the **moon**\n\n```\n", *(f"line {n}\n" for n in range(20)), "```\n")
    terminal.types("Why are there tides?\rAnd\x1b\rthen?\r")
    terminal.waits(lambda: terminal.everything.count("line 19") == 2, "no two answers")
    assert terminal.leaves() == 0
    with at_terminal("chat", "-c") as again:
        again.sees("listens")
        told = again.everything
        assert told.startswith("Why are there tides?\n")
        assert ">>> And\n... then?\nTides\n\n • the moon\n\n  line 0\n" in told
        assert "line 7\n…" in told
        assert "line 19" not in told


def test_every_hostile_sequence_cut_anywhere_is_neither_obeyed_nor_seen(server):
    pieces = []
    for sequence in SEQUENCES.values():
        for cut in range(len(sequence) + 1):
            pieces += [f"before {sequence[:cut]}", f"{sequence[cut:]}after\n\n"]
    server.says(*pieces, "The end.")
    with at_terminal("chat", "tiny") as terminal:
        terminal.sees(">>>")
        terminal.types("Hi\r")
        terminal.sees("The end.")
        assert terminal.leaves() == 0
        shown = [line for line in terminal.everything.splitlines() if line]
        first, last = shown.index(">>> Hi") + 1, shown.index("The end.")
        assert shown[first:last] == ["before after"] * (len(pieces) // 2)
        ours = rb"\x1b\[(0(;[1-9])*m|\d*[ABCDJK]|\?(1|7|12|25|2004)[hl])"
        rest = re.sub(ours, b"", terminal.raw).decode()
        assert controls_in(rest, but="\r\n") == set()


def test_a_half_typed_command_shows_what_it_may_become(terminal):
    terminal.types("/thi")
    terminal.sees("show what was thought")
