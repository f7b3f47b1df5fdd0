"""What is said in ``mlm chat`` is saved as it is said, and goes on later."""

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pexpect
import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode
from mlm.sessions.store import Sessions
from mlm.sessions.types import Session

pytestmark = pytest.mark.usefixtures("warm_home")

Chat = "pexpect.spawn[str]"


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def chat(server: OpenAIServer, tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    """Start a chat at a terminal; it waits for the first question."""
    children = []

    def start(*words: str, **variables: str) -> Chat:
        environment = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "mlm", "chat", *words],
            env=environment | variables,
            cwd=tmp_path,
            encoding="utf-8",
            timeout=30,
            dimensions=(40, 100),
        )
        children.append(child)
        child.expect(">>>")
        return child

    yield start
    for child in children:
        child.close(force=True)


def ask(child: Chat, question: str, answer: str) -> None:
    child.send(f"{question}\r")
    child.expect(answer)
    child.expect("tok/s")
    child.expect(">>>")


def leave(child: Chat) -> None:
    child.send("/exit\r")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == ExitCode.OK


def saved(home: Path) -> list[Session]:
    """All conversations, last written first."""
    with Sessions(home / "sessions.sqlite") as sessions:
        return [sessions.read(known) for known in sessions.summaries()]


def await_questions(home: Path, *conversations: list[str]) -> None:
    """Wait until these questions are saved, those of the last conversation first."""
    deadline = time.monotonic() + 15  # the next line can be typed while the last is being saved
    while (found := [questions(session) for session in saved(home)]) != list(conversations):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def questions(session: Session) -> list[str]:
    return [message.text for message in session.messages if message.role == "user"]


def texts(session: Session) -> list[str]:
    return [message.text for message in session.messages]


def test_a_chat_is_saved_turn_by_turn_and_goes_on(server, chat, home: Path):
    first = chat("tiny", "--system", "Be brief.")
    ask(first, "Hi", "Hello there")
    await_questions(home, ["Hi"])
    (session,) = saved(home)  # while the chat goes on
    assert texts(session) == ["Be brief.", "Hi", "Hello there"]
    assert (session.summary.title, session.summary.ref) == ("Hi", "tiny")
    assert session.messages[-1].figures["completion_tokens"] == 2
    assert stat.S_IMODE((home / "sessions.sqlite").stat().st_mode) == 0o600
    leave(first)

    server.says("Well", " then")
    second = chat("-c")  # the model need not be said
    second.expect(session.summary.id)
    second.expect("Hello there")
    ask(second, "And?", "Well then")
    leave(second)
    told = [said for said in server.asked if said.path.endswith("/chat/completions")][-1].body[
        "messages"
    ]
    assert [message["content"] for message in told] == ["Be brief.", "Hi", "Hello there", "And?"]
    (session,) = saved(home)
    assert texts(session) == ["Be brief.", "Hi", "Hello there", "And?", "Well then"]


def test_a_chat_in_which_nothing_was_asked_is_not_saved(chat, home: Path):
    child = chat("tiny")
    child.send("/help\r")
    child.expect(">>>")
    leave(child)
    assert not (home / "sessions.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "variables", "is_saved"),
    [
        (["--no-save"], {}, False),
        ([], {"MLM_SAVE_CHATS": "0"}, False),
        (["--save"], {"MLM_SAVE_CHATS": "0"}, True),
    ],
)
def test_who_does_not_want_it_is_not_recorded(chat, home, words, variables, is_saved):
    child = chat("tiny", *words, **variables)
    ask(child, "Hi", "Hello there")
    leave(child)
    assert (home / "sessions.sqlite").exists() == is_saved


def test_an_answer_that_was_stopped_is_saved_as_far_as_it_came(server, chat, home: Path):
    server.hesitates_after("Once upon")
    child = chat("tiny")
    child.send("Tell me a story\r")
    child.expect("Once upon")
    child.sendintr()
    child.expect("stopped")
    await_questions(home, ["Tell me a story"])
    (session,) = saved(home)
    assert texts(session) == ["Tell me a story", "Once upon"]
    assert session.messages[-1].stopped
    leave(child)


def test_of_a_chat_that_is_killed_every_answer_is_there(chat, home: Path):
    child = chat("tiny")
    ask(child, "Hi", "Hello there")
    ask(child, "Again", "Hello there")
    await_questions(home, ["Hi", "Again"])
    child.kill(signal.SIGKILL)
    child.expect(pexpect.EOF)
    (session,) = saved(home)
    assert texts(session) == ["Hi", "Hello there", "Again", "Hello there"]


def test_clear_begins_another_conversation(chat, home: Path):
    child = chat("tiny")
    ask(child, "Hi", "Hello there")
    child.send("/clear\r")
    child.expect("Forgotten")
    child.expect(">>>")
    ask(child, "Something else", "Hello there")
    leave(child)
    assert [texts(session)[0] for session in saved(home)] == ["Something else", "Hi"]


def test_a_certain_conversation_goes_on_by_the_beginning_of_its_id(server, chat, home: Path):
    for question in ("One", "Two"):
        child = chat("tiny")
        ask(child, question, "Hello there")
        leave(child)
    older = saved(home)[1].summary
    child = chat("--session", older.id[:6])
    ask(child, "Three", "Hello there")
    leave(child)
    assert [texts(session)[0::2] for session in saved(home)] == [["One", "Three"], ["Two"]]


def test_of_two_chats_on_one_conversation_none_loses_a_turn(chat, home: Path):
    child = chat("tiny")
    ask(child, "Hi", "Hello there")
    leave(child)
    one, other = chat("-c"), chat("-c")
    ask(one, "From one", "Hello there")
    await_questions(home, ["Hi", "From one"])
    other.send("From the other\r")
    other.expect("is saved as")
    other.expect(">>>")
    ask(one, "One again", "Hello there")
    ask(other, "The other again", "Hello there")
    leave(one)
    leave(other)
    assert [texts(session)[0::2] for session in saved(home)] == [
        ["Hi", "From the other", "The other again"],
        ["Hi", "From one", "One again"],
    ]


def test_a_locked_file_stops_no_chat_and_all_is_saved_later(chat, home: Path):
    child = chat("tiny")
    ask(child, "Hi", "Hello there")
    await_questions(home, ["Hi"])
    with closing(sqlite3.connect(home / "sessions.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        child.send("Two\r")
        child.expect("Not saved")
        child.expect(">>>")
        ask(child, "Three", "Hello there")
        assert "Not saved" not in child.before
        other.execute("ROLLBACK")
    child.send("Four\r")
    child.expect("Saved again")
    leave(child)
    (session,) = saved(home)
    assert texts(session)[0::2] == ["Hi", "Two", "Three", "Four"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux only")
def test_a_disk_without_room_stops_no_chat(chat, home: Path):
    child = chat("tiny")
    ask(child, "Hi", "Hello there")
    await_questions(home, ["Hi"])
    size = (home / "sessions.sqlite-wal").stat().st_size
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    child.send("Two\r")
    child.expect("Not saved")
    child.expect(">>>")
    ask(child, "Three", "Hello there")
    assert "Not saved" not in child.before
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    child.send("Four\r")
    child.expect("Saved again")
    leave(child)
    (session,) = saved(home)
    assert texts(session)[0::2] == ["Hi", "Two", "Three", "Four"]


def test_without_anything_saved_it_is_a_new_chat(chat, server, home: Path):
    child = chat("tiny", "-c")
    assert "No conversation is saved yet" in child.before
    leave(child)


def test_an_unknown_conversation_is_an_error(mlm, server):
    result = mlm("chat", "tiny", "--session", "abc")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm sessions list" in result.stderr


def pipe(*words: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "mlm", "chat", *words]
    return subprocess.run(command, input=b"Hi\n", capture_output=True, check=True)


def test_a_pipe_is_saved_only_if_asked_to(server, home: Path):
    pipe("tiny")
    assert not (home / "sessions.sqlite").exists()
    pipe("tiny", "--save")
    pipe("-c")
    (session,) = saved(home)
    assert texts(session) == ["Hi", "Hello there"] * 2


def test_a_pipe_that_cannot_be_saved_says_so(server, home: Path):
    (home / "sessions.sqlite").mkdir()
    done = pipe("tiny", "--save")
    assert done.stdout == b"Hello there\n"
    assert b"Not saved" in done.stderr
