"""``mlm run`` at a real terminal: what the model says is shown, whatever it says."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest
from fakes.hostile_text import SEQUENCES, controls_in
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")
RUN = [sys.executable, "-m", "mlm", "run", "tiny", "Hi"]


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


def shown_by(words: list[str], **environment: str) -> bytes:
    """Return what a command writes to a terminal that is its stdout; stderr is none."""
    master, slave = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(master, 65536):
                pieces.append(piece)
        except OSError:  # how Linux says that a terminal was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
            timeout=100,
            check=False,
        )
    finally:
        os.close(slave)
        reader.join()
        os.close(master)
    assert (done.returncode, done.stderr) == (ExitCode.OK, b"")
    return b"".join(pieces)


def test_every_hostile_sequence_cut_anywhere_leaves_the_screen_as_plain_text(server):
    pieces = []
    for sequence in SEQUENCES.values():
        for cut in range(len(sequence) + 1):
            pieces += [f"before {sequence[:cut]}", f"{sequence[cut:]}after\n"]
    server.says(*pieces)
    written = shown_by(RUN)

    lines = len(pieces) // 2
    assert lines > 2000
    assert controls_in(written.decode(), but="\r\n") == set()
    screen = pyte.Screen(80, lines + 1)
    pyte.ByteStream(screen).feed(written)
    assert [line.rstrip() for line in screen.display] == ["before after"] * lines + [""]
    assert screen.title == ""


def test_the_same_as_one_document(server):
    pieces = [f"{sequence}." for sequence in SEQUENCES.values()]
    server.says(*pieces)
    written = shown_by([*RUN, "--json"]).decode()
    assert controls_in(written, but="\r\n") == set()
    assert json.loads(written)["answer"] == "".join(pieces)


def test_and_as_thoughts(server):
    server.thinks(*SEQUENCES.values(), then="done")
    written = shown_by(RUN, NO_COLOR="1").decode()
    assert controls_in(written, but="\r\n") == set()
    assert written == "done\r\n"


def test_thoughts_are_dimmed_and_stand_apart(server):
    server.thinks("Hm", ".", then="Yes")
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    words = ["-m", "mlm", "--quiet", *RUN[3:]]  # no line about a wait, however slow it is here
    child = pexpect.spawn(
        RUN[0], words, env=environment | {"TERM": "xterm"}, encoding="utf-8", timeout=30
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.before == "\x1b[2mHm\x1b[0m\x1b[2m.\x1b[0m\r\n\r\nYes\r\n"


def test_thoughts_can_be_left_out(server):
    server.thinks("Hm", then="Yes")
    assert shown_by([*RUN, "--no-think"]) == b"Yes\r\n"
    assert server.asked[-1].body["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_wait_says_what_it_is_for_and_vanishes(server):
    may_go_on = threading.Event()
    server.says("Hello")
    answer: Callable[..., None] = server.told

    def reply(connection) -> None:
        may_go_on.wait(30)
        answer(connection)

    server.does(reply)
    environment = os.environ | {"TERM": "xterm"}
    child = pexpect.spawn(RUN[0], RUN[1:], env=environment, encoding="utf-8", timeout=30)
    child.expect("tiny reads the prompt")
    may_go_on.set()
    child.expect("Hello")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == ExitCode.OK


def test_ctrl_c_stops_the_answer_and_leaves_what_was_said(server):
    server.hesitates_after("Once upon")
    child = pexpect.spawn(RUN[0], RUN[1:], encoding="utf-8", timeout=30)
    child.expect("Once upon")
    child.sendintr()
    child.expect("\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == ExitCode.INTERRUPTED
    assert server.client_left.wait(10)


def test_at_a_terminal_without_a_question_it_does_not_wait_for_one(server):
    child = pexpect.spawn(
        sys.executable, ["-m", "mlm", "run", "tiny"], encoding="utf-8", timeout=30
    )
    child.expect("there is no question")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == ExitCode.USAGE


def test_json_is_indented_for_people(server):
    server.says('{"a": 1}')
    assert shown_by([*RUN, "--schema", "a int"]) == b'{\r\n  "a": 1\r\n}\r\n'
