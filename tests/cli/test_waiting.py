"""Who waits for more than a moment is told for what, on a terminal only, and nothing stays."""

from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY
from fakes.typed_terminal import typed

from mlm.errors import ExitCode

WAIT = """
import sys, time
from mlm.cli._session import Session
from mlm.cli._waiting import waiting_for
from mlm.settings import Settings

run = Session(Settings.from_environment({}), quiet="quiet" in sys.argv)
try:
    with waiting_for(run, "asking \\x1b[31msomebody\\n" + "x" * 200) as show:
        input()
        show(0.43)
        input()
        run.note("he is busy")
        input()
        if "fail" in sys.argv:
            raise RuntimeError("no more")
finally:
    print("the end")
"""


@pytest.fixture
def wait(tmp_path: Path) -> Path:
    (tmp_path / "wait.py").write_text(WAIT)
    return tmp_path / "wait.py"


def test_a_wait_is_told_after_a_moment_and_gone_at_the_end(wait: Path):
    with typed(script=wait, echo=False) as terminal:
        terminal.wait_for("asking somebody x")
        assert len(terminal.lines[0]) <= 79
        terminal.press("\r")
        terminal.wait_for("43%")
        terminal.press("\r")
        terminal.wait_for("he is busy")
        assert "he is busyx" not in terminal.text, "a note takes the place of the line"
        terminal.press("\r")
        terminal.wait()
        assert [line for line in terminal.lines if line] == ["he is busy", "the end"]


def test_a_failure_takes_the_line_away_too(wait: Path):
    with typed("fail", script=wait, echo=False) as terminal:
        terminal.wait_for("asking somebody")
        terminal.press("\r\r\r")
        terminal.wait()
        assert "asking" not in terminal.text.partition("Traceback")[0]


@pytest.mark.parametrize(
    ("words", "environ"), [(("quiet",), {}), ((), {"TERM": "dumb"}), ((), {"TERM": "xterm"})]
)
def test_a_short_wait_a_quiet_one_and_a_dumb_terminal_see_no_line(wait: Path, words, environ):
    with typed(*words, script=wait, echo=False, **environ) as terminal:
        terminal.press("\r\r\r")
        terminal.wait()
        assert b"asking" not in terminal.raw


def test_on_a_dumb_terminal_a_long_wait_is_told_once(wait: Path):
    with typed(script=wait, echo=False, TERM="dumb", columns=300) as terminal:
        terminal.wait_for("asking somebody")
        terminal.press("\r\r")
        terminal.wait_for("he is busy")
        terminal.press("\r")
        terminal.wait()
        assert terminal.raw.count(b"asking") == 1
        assert b"\x1b" not in terminal.raw


SLOW = [
    (("search", "tiny", "--hub"), "asking the hub"),
    (("download", f"{REPO}:Q4_K_M"), f"asking the hub about {REPO}"),
    (("plan", f"{REPO}:Q4_K_M"), f"reading the header of {REPO}"),
    (("catalog", "add", REPO), f"asking the hub about {REPO}"),
    (("catalog", "update", "qwen3-8b"), "waiting for its answers"),
]


@pytest.mark.parametrize(("words", "told"), SLOW, ids=lambda value: str(value[0]))
def test_a_slow_hub_is_told(warm_home, hub: FakeHub, words, told: str):
    hub.add(REPO, File(NAME, TINY))
    hub.breaks(where="api", stall_before_headers=True)
    with typed(*words) as terminal:
        terminal.wait_for(told)
        terminal.press("\x03")
        assert terminal.wait() == ExitCode.INTERRUPTED
        assert told not in terminal.text, "it is gone in the end"


def test_what_waits_for_a_server_is_told(tmp_path: Path):
    from fakes.fake_server import serving

    words = ("--home", tmp_path / "home", "load", "alpha")
    with serving(tmp_path, {"alpha": {"load_s": 30}}) as server, typed(*words) as terminal:
        terminal.wait_for(f"waiting for {server.url} to load alpha")


def test_a_command_in_a_pipe_says_nothing_of_waiting(mlm, warm_home, hub: FakeHub):
    hub.add(REPO, File(NAME, TINY))
    assert mlm("search", "tiny", "--hub").stderr == ""
