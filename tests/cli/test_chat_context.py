"""A chat with a real model whose context fills up: what is sent is what is said to be sent."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.asked import ask as ask_server
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve
from fakes.spectator import at_terminal

from mlm.client import Client
from mlm.errors import ExitCode
from mlm.repl.chat import Chat
from mlm.repl.commands import run_command
from mlm.repl.conversation import Conversation
from mlm.repl.measure import measure
from mlm.repl.question import Question

N_CTX = 256


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    home = tmp_path_factory.mktemp("chat") / "home"
    with mlm_serve(home, str(DEMO_MODEL), "--threads", "1", "--ctx", str(N_CTX)) as server:
        server.wait_for("loaded")
        ask_server(server, "/tokenize", messages=[{"role": "user", "content": "Hi"}])
        yield server  # by now all its processes are there


@pytest.fixture
def chat(server: MlmServe) -> Iterator[Chat]:
    with Client(server.url) as client:
        yield Chat(client, "mlm-demo", params={"temperature": 0})


def ask(chat: Chat, question: str) -> str:
    return "".join(delta.text for delta in chat.ask(question))


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_what_is_measured_is_what_the_server_counts(chat: Chat, system: str | None):
    chat.conversation = Conversation(system)
    for question in ("What is mlm?", "How do I chat?"):
        sizes = measure(chat.tokens, chat.model, chat.conversation, Question(question))
        measured = sizes.fixed + sum(turn.tokens for turn in sizes.turns)
        ask(chat, question)
        usage = chat.answers[-1].finished.usage
        assert measured == usage.prompt_tokens and sizes.is_exact
    assert chat.context.limit == N_CTX


def test_a_long_chat_goes_on_and_says_what_it_leaves_out(chat: Chat):
    said: list[str] = []
    chat.say = said.append
    for _ in range(4):
        for question in ("What is mlm?", "How do I download a model?", "What is a GGUF file?"):
            assert ask(chat, question)
            assert chat.context.used <= N_CTX
    assert said and all(re.match(r"No longer sent, to make room: turns? \d", s) for s in said)
    assert len(chat.conversation.turns) == 12


def test_the_model_can_sum_up_what_goes(chat: Chat):
    said: list[str] = []
    chat.say = said.append
    run_command(chat, "/context summarise")
    for question in ("What is mlm?", "How do I download a model?", "What is a GGUF file?") * 2:
        ask(chat, question)
    assert said and said[0].startswith("Summing up turn")
    assert chat.conversation.summary
    assert chat.context.used <= N_CTX


def test_a_question_that_does_not_fit_ends_a_pipe_with_figures(server: MlmServe, tmp_path: Path):
    """The announcements go to stderr there: answers are all that a program reads."""
    lines = ["What is mlm?", "How do I download a model?", "What is a GGUF file?"] * 2
    done = subprocess.run(
        [sys.executable, "-m", "mlm", "chat", "mlm-demo", "--temperature", "0"],
        input="\n".join([*lines, "word " * 300]).encode(),
        capture_output=True,
        env={**os.environ, "MLM_HOME": str(server.home)},
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert len(done.stdout.splitlines()) == len(lines)
    assert b"No longer sent" in done.stderr
    assert b"192 are available: the context of 256 less 64 for the answer" in done.stderr


def test_an_answer_is_copied_through_the_terminal(server: MlmServe):
    words = ("chat", "mlm-demo", "--temperature", "0")
    with at_terminal(*words, MLM_HOME=str(server.home), PATH="/nowhere") as person:
        person.sees("mlm-demo listens")
        person.types("How do I chat?\r")
        person.sees("leaves.")
        person.types("/copy\r")
        person.sees("is on the clipboard, through the terminal")
        encoded = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", person.raw)
        assert base64.b64decode(encoded[1]).startswith(b"Type `mlm chat`")
        assert person.leaves() == ExitCode.OK
