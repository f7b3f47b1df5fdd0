"""A chat survives whatever happens to an answer."""

import io
from collections.abc import Iterator

import pytest

from mlm.client import Client
from mlm.errors import EngineError
from mlm.repl.conversation import Turn
from mlm.repl.keeper import Keeper
from mlm.repl.loop import talk, talk_in_pipe
from mlm.repl.screen import Screen
from mlm.sessions.store import Sessions


class Typist:
    """Types lines one after the other; exceptions are raised; then Ctrl-D.

    A line that begins with + is typed after what stands in the input.
    """

    def __init__(self, *lines: str | type[BaseException]) -> None:
        self._lines: Iterator[str | type[BaseException]] = iter(lines)

    def read(self, draft: str = "") -> str:
        line = next(self._lines, EOFError)
        if isinstance(line, str):
            return draft + line[1:] if line.startswith("+") else line
        raise line


@pytest.fixture
def out():
    return io.StringIO()


def terminal(out: io.StringIO) -> Screen:
    return Screen(out, is_interactive=True, has_colour=False)


def pipe(out: io.StringIO) -> Screen:
    return Screen(out, is_interactive=False, has_colour=False)


def test_a_person_asks_gets_an_answer_and_its_figures(chat, out):
    talk(chat, Typist("Hi", "", "   "), terminal(out))
    greeting, answer, figures = out.getvalue().splitlines()
    assert "/help" in greeting
    assert answer == "Hello there"
    assert figures.startswith("2 tokens · ")
    assert "8 of 40 prompt tokens cached" in figures
    assert chat.conversation.turns == (Turn("Hi", "Hello there"),)


def test_what_came_of_an_answer_that_broke_off_is_kept_and_it_can_be_had_again(
    openai_server, chat, out
):
    openai_server.breaks_off_after("Hel")
    talk(chat, Typist("Hi"), terminal(out))
    assert "Hel\nerror: the server cut the answer off" in out.getvalue()
    assert chat.conversation.turns == (Turn("Hi", "Hel", stopped=True),)

    openai_server.says("Hello")
    talk(chat, Typist("/retry"), terminal(out))
    assert openai_server.asked[-1].body["messages"] == [{"role": "user", "content": "Hi"}]
    assert chat.conversation.turns == (Turn("Hi", "Hello"),)


def test_where_the_server_has_gone_it_is_said_how_to_go_on_with_another(chat, out, tmp_path):
    with Sessions(tmp_path / "sessions.db") as sessions, Client("http://127.0.0.1:1") as nobody:
        chat.client, there = nobody, chat.client
        chat.keeper = Keeper(sessions, chat.say)
        talk(chat, Typist("Hi"), terminal(out))
        assert out.getvalue().endswith("leave, and `mlm chat tiny` starts another\n")
        chat.client = there
        talk(chat, Typist("Hi"), terminal(out))
        chat.client = nobody
        talk(chat, Typist("And?"), terminal(out))
        (saved,) = sessions.summaries()
    assert out.getvalue().endswith(f"leave, and `mlm chat --session {saved.id}` goes on\n")


def test_a_question_that_nothing_came_of_leaves_no_trace_but_can_be_asked_again(
    openai_server, chat, out
):
    openai_server.refuses(503, {"error": {"message": "not now"}})
    talk(chat, Typist("Hi"), terminal(out))
    assert chat.conversation.turns == ()

    openai_server.says("Hello")
    talk(chat, Typist("/retry"), terminal(out))
    assert chat.conversation.turns == (Turn("Hi", "Hello"),)


def test_an_edited_question_takes_the_place_of_the_last_one(openai_server, chat, out):
    talk(chat, Typist("Hi", "/edit", "+ there"), terminal(out))
    assert [turn.question for turn in chat.conversation.turns] == ["Hi there"]
    assert len(openai_server.asked[-1].body["messages"]) == 1


def test_an_edit_ends_with_the_next_command_or_an_empty_line(chat, out):
    talk(chat, Typist("Hi", "/edit", "/stats", "And?", "/edit", "", "And then?"), terminal(out))
    assert [turn.question for turn in chat.conversation.turns] == ["Hi", "And?", "And then?"]


def test_a_person_names_files_in_a_question_and_sees_what_they_cost(
    openai_server, chat, out, tmp_path
):
    openai_server.n_ctx_slot = 1000
    (tmp_path / "notes.md").write_text("one two three\n")
    talk(chat, Typist(f"Sum up @{tmp_path}/notes.md and @{tmp_path}/nothing"), terminal(out))
    assert "notes.md: 6 tokens" in out.getvalue()
    assert "nothing is no file" in out.getvalue()
    sent = openai_server.asked[-1].body["messages"][-1]["content"]
    assert sent.startswith(f"{tmp_path}/notes.md:\n```md\none two three\n```\n\nSum up @")


def test_what_a_program_asks_names_no_files(openai_server, chat, out, tmp_path):
    (tmp_path / "secret").write_text("x")
    talk_in_pipe(chat, [f"What is @{tmp_path}/secret?"], pipe(out))
    assert openai_server.asked[-1].body["messages"][-1]["content"] == f"What is @{tmp_path}/secret?"


def test_a_full_context_names_the_way_out(openai_server, chat, out):
    openai_server.n_ctx_bytes = 300
    talk(chat, Typist("Hi", "x" * 300), terminal(out))
    assert "needs 999 tokens" in out.getvalue()
    assert "/clear" in out.getvalue().splitlines()[-1]


def test_ctrl_c_at_the_prompt_does_not_end_the_chat(chat, out):
    talk(chat, Typist(KeyboardInterrupt, "Hi"), terminal(out))
    assert "Hello there" in out.getvalue()


def test_an_answer_that_is_left_half_way_is_kept_as_far_as_it_came(openai_server, chat):
    openai_server.hesitates_after("Hel")
    answer = chat.ask("Hi")
    next(answer)
    answer.close()
    assert openai_server.client_left.wait(10)
    assert chat.conversation.turns == (Turn("Hi", "Hel", stopped=True),)


def test_an_unknown_command_does_not_end_the_chat(chat, out):
    talk(chat, Typist("/nonsense", "Hi", "/exit", "never asked"), terminal(out))
    assert "error: there is no command /nonsense\nhint: /help" in out.getvalue()
    assert len(chat.conversation.turns) == 1


def test_a_line_that_begins_with_a_space_is_never_a_command(openai_server, chat, out):
    talk(chat, Typist(" /exit is a word"), terminal(out))
    assert openai_server.asked[-1].body["messages"][-1]["content"] == "/exit is a word"


def test_a_pipe_gets_answers_and_nothing_else(openai_server, chat, out):
    talk_in_pipe(chat, ["Hi\n", "\n", "And?\n"], pipe(out))
    assert out.getvalue() == "Hello there\nHello there\n"
    assert len(openai_server.asked[-1].body["messages"]) == 3


def test_in_a_pipe_the_first_failure_ends_the_chat(openai_server, chat, out):
    openai_server.refuses(502, {"error": {"message": "worker died"}})
    with pytest.raises(EngineError):
        talk_in_pipe(chat, ["Hi\n", "And?\n"], pipe(out))
    assert len([asked for asked in openai_server.asked if asked.body]) == 1


def test_thinking_is_shown_to_a_person_only_and_not_remembered(openai_server, chat):
    thought = b'data: {"choices": [{"delta": {"reasoning_content": "hm\\n"}}]}\n\n'
    answer = b'data: {"choices": [{"delta": {"content": "Yes"}}]}\n\ndata: [DONE]\n\n'
    openai_server.sends(thought, answer)
    shown, piped = io.StringIO(), io.StringIO()
    talk(chat, Typist("Hi"), Screen(shown, is_interactive=True, has_colour=True))
    talk_in_pipe(chat, ["Hi"], pipe(piped))
    assert "\x1b[2mhm\n\x1b[0m\nYes\n" in shown.getvalue()
    assert piped.getvalue() == "Yes\n"
    assert chat.conversation.turns[0].answer == "Yes"


def test_a_hostile_answer_cannot_command_the_terminal(openai_server, chat, out):
    openai_server.says("a\x1b]0;pwn", "ed\x07b\x9b2", "Jc\u202e")
    openai_server.models = ["\x1b[2Jevil"]
    chat.model = "\x1b[2Jevil"
    talk(chat, Typist("Hi", "/model"), terminal(out))
    assert out.getvalue().startswith("evil listens.")
    assert "abc\n" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "* evil\n" in out.getvalue()
