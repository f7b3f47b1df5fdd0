"""``mlm chat`` at a real terminal, and in a pipe."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

CHAT = ["-m", "mlm", "chat", "tiny"]


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def terminal(server: OpenAIServer, tmp_path: Path) -> Iterator["pexpect.spawn[str]"]:
    """A chat at a terminal of 80 columns that waits for the first question."""
    environment = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = pexpect.spawn(
        sys.executable, CHAT, env=environment, cwd=tmp_path, encoding="utf-8", timeout=30
    )
    child.expect(">>>")
    yield child
    child.close(force=True)


def leave(terminal: "pexpect.spawn[str]") -> None:
    terminal.expect(">>>")
    terminal.send("/exit\r")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == ExitCode.OK


def test_a_chat_asks_answers_saves_and_leaves(server, terminal, tmp_path: Path, home: Path):
    terminal.send("Hi\r")
    terminal.expect("Hello there")
    terminal.expect("tok/s")
    terminal.expect(">>>")
    terminal.send("/stats\r")
    terminal.expect("answer tokens +2")
    terminal.expect(">>>")
    terminal.send("/save talk.md\r")
    terminal.expect("Saved to talk.md")
    leave(terminal)
    assert "Hello there" in (tmp_path / "talk.md").read_text()
    assert "+Hi\n" in (home / "chat_history").read_text()


def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(server, terminal):
    server.hesitates_after("Once upon")
    terminal.send("Tell me a story\r")
    terminal.expect("Once upon")
    terminal.sendintr()
    terminal.expect("stopped")
    assert server.client_left.wait(10)
    terminal.expect(">>>")

    server.says("The end")
    terminal.send("Go on\r")
    terminal.expect("The end")
    told = server.asked[-1].body["messages"]
    assert [message["content"] for message in told] == ["Tell me a story", "Once upon", "Go on"]
    leave(terminal)


def test_ctrl_d_leaves(terminal):
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == ExitCode.OK


def test_a_pasted_text_keeps_its_lines(server, terminal):
    terminal.send("\x1b[200~one\ntwo\x1b[201~")
    terminal.expect("two")
    terminal.send("\r")
    terminal.expect("Hello there")
    assert server.asked[-1].body["messages"][-1]["content"] == "one\ntwo"
    leave(terminal)


def test_a_server_that_dies_does_not_end_the_chat(server, terminal):
    server.breaks_off_after("Hel")
    terminal.send("Hi\r")
    terminal.expect("error: .*cut the answer off")
    server.says("Hello again")
    terminal.expect(">>>")
    terminal.send("Hi\r")
    terminal.expect("Hello again")
    leave(terminal)


def test_escape_sequences_of_the_model_do_not_reach_the_terminal(server, terminal):
    server.says("be", "\x1b]0;pwned", "\x07fore\x1b[2", "J and after\x9b31m")
    terminal.send("Hi\r")
    terminal.expect("before and after")
    leave(terminal)


def test_from_a_pipe_each_line_is_a_question(server):
    done = subprocess.run(
        [sys.executable, *CHAT],
        input=b"Hi\n\nAnd in French?\n/stats\n/exit\nnever asked\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"Hello there\nHello there\nmodel ")
    assert done.stderr == b""
    questions = [asked.body["messages"] for asked in server.asked if asked.body]
    assert [len(messages) for messages in questions] == [1, 3]


def test_in_a_pipe_a_failure_has_its_exit_code(server):
    server.refuses(502, {"error": {"message": "worker died of SIGSEGV"}})
    done = subprocess.run([sys.executable, *CHAT], input=b"Hi\n", capture_output=True, check=False)
    assert done.returncode == ExitCode.ENGINE
    assert b"worker died of SIGSEGV" in done.stderr


def test_without_a_model_it_says_how_to_get_one(mlm):
    result = mlm("chat")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm download" in result.stderr


def test_without_the_engine_it_says_how_to_get_it(mlm, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    result = mlm("chat", "mlm-demo")
    assert result.exit_code == ExitCode.ENGINE
    assert "mlm engine install" in result.stderr


def test_the_demo_model_chats_for_real(mlm, home: Path):
    assert mlm("download", "mlm-demo").exit_code == ExitCode.OK
    done = subprocess.run(
        [sys.executable, "-m", "mlm", "chat", "--temperature", "0"],  # the only model there is
        input=b"What is mlm?\nHow do I download a model?\n/stats\n",
        capture_output=True,
        check=True,
    )
    answers = done.stdout.decode().splitlines()
    assert "mlm" in answers[0]
    assert "answers         2" in answers
    assert list((home / "run").glob("*.json")) == []
