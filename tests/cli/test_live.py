"""``mlm stats --live`` on a real terminal, over a real server with fake workers."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_server import FakeServer, serving
from fakes.stats_server import full_resident, serving_stats
from fakes.typed_terminal import TypedTerminal, typed

from mlm.errors import ExitCode, NotFoundError, UsageError

_COLOUR = re.compile(rb"\x1b\[[0-9;]*\b[349][0-7]m")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    models = {"alpha": {}, "beta": {"installed": True}}
    with serving(tmp_path_factory.mktemp("running"), models) as server:
        server.wait_for("Loaded")
        yield server


@pytest.fixture
def nothing_leaks() -> None:
    """The server of all tests here starts and ends workers; it takes them along in the end."""


@contextmanager
def watching(server: FakeServer, **size: Any) -> Iterator[TypedTerminal]:
    with typed("--home", server.home / "home", "stats", "--live", **size) as terminal:
        terminal.wait_for("● live")
        yield terminal


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_running_server_is_found_and_shown(running: FakeServer, columns: int):
    running.chat("n=4")
    with watching(running, columns=columns) as terminal:
        terminal.wait_for("alpha")
        terminal.wait_for("RECENT REQUESTS")
        assert terminal.lines[0].startswith(f"● live {running.url.removeprefix('http://')}")
        for wanted in ("CPU", "Memory", "● ready", "○ not loaded", "? help", "q quit"):
            assert wanted in terminal.text
        terminal.press("q")
        assert terminal.wait() == ExitCode.OK
    assert running.process.poll() is None


def test_keys_choose_load_pin_and_unload_a_model(running: FakeServer):
    with watching(running) as terminal:
        terminal.wait_for("▸ alpha")
        terminal.press("\x1b[B")  # the arrow down
        terminal.wait_for("▸ beta")
        terminal.press("l")
        terminal.wait_for("beta is loaded")
        terminal.wait_for(lambda: terminal.text.count("● ready") == 2)
        terminal.press("p")
        terminal.wait_for("● ready pin")
        terminal.press("uy")
        terminal.wait_for("✕ the server answered 409: 'beta' is pinned")
        terminal.press("p")
        terminal.wait_for("is not pinned any more")
        terminal.press("un")
        terminal.press("u")
        terminal.wait_for("unload beta? y or n")
        terminal.press("y")
        terminal.wait_for("beta is unloaded")
        assert running.resident("beta")["state"] == "stopped"


def test_help_hold_and_another_size(running: FakeServer):
    with watching(running) as terminal:
        terminal.press("?")
        terminal.wait_for("choose a model")
        terminal.press("x")
        terminal.wait_for("▸ alpha")
        terminal.press(" ")
        terminal.wait_for("‖ held")
        terminal.press(" ")
        terminal.wait_for("● live")
        terminal.resize(40, 12)
        terminal.wait_for(lambda: "q quit" in terminal.lines[11])
        terminal.resize(120, 40)
        terminal.wait_for(lambda: "q quit" in terminal.lines[39])
        terminal.press("\x03")
        assert terminal.wait() == ExitCode.OK


def test_a_server_that_goes_away_and_comes_back_is_followed(tmp_path: Path):
    with serving_stats() as server, typed("stats", "--live", "--url", server.url) as terminal:
        terminal.wait_for("alpha")
        server.stop()
        terminal.wait_for("✕ NO ANSWER since")
        assert "alpha" in terminal.text, "what was known last stays"
        server.stats["resident"] = [full_resident("omega")]
        server.start()
        terminal.wait_for("● live")
        terminal.wait_for("omega")
        terminal.press("q")
        assert terminal.wait() == ExitCode.OK


def test_nothing_that_a_server_says_commands_the_terminal():
    hostile = "e\x1b]52;c;b3duZWQ=\x07vil\x9b2J\u202e\x1b[31m"
    with serving_stats() as server:
        server.stats["resident"] = [full_resident(hostile, trouble=hostile, state=hostile)]
        server.stats["mlm_version"] = hostile
        server.installed = [hostile]
        server.refusals["/admin/load"] = {"message": f"no: {hostile}"}
        with typed("stats", "--live", "--url", server.url) as terminal:
            terminal.wait_for("evil")
            terminal.press("l")
            terminal.wait_for("no: evil")
            for control in (b"\x1b]52", b"\x9b", "\u202e".encode(), b"\x07"):
                assert control not in terminal.raw


def test_with_no_color_there_is_none(running: FakeServer):
    with watching(running, NO_COLOR="1") as terminal:
        terminal.wait_for("alpha")
        assert not _COLOUR.search(terminal.raw)
    with watching(running, NO_COLOR="") as terminal:
        terminal.wait_for("alpha")
        assert _COLOUR.search(terminal.raw)


def test_a_dumb_terminal_gets_lines(running: FakeServer):
    home = running.home / "home"
    with typed("--home", home, "stats", "--live", TERM="dumb") as terminal:
        terminal.wait_for("0 running, 0 waiting")
        assert b"\x1b" not in terminal.raw
        terminal.press("\x03")
        assert terminal.wait() == ExitCode.OK


def test_a_terminal_that_cannot_write_more_than_ascii_gets_ascii(running: FakeServer):
    with typed(
        "--home", running.home / "home", "stats", "--live", PYTHONIOENCODING="ascii"
    ) as terminal:
        terminal.wait_for("* live")
        terminal.wait_for("> alpha")
        assert terminal.raw.isascii()


def test_at_the_end_the_screen_of_before_is_back(running: FakeServer):
    with watching(running) as terminal:
        terminal.press("q")
        terminal.wait()
        assert terminal.raw.rindex(b"\x1b[?1049l") > terminal.raw.rindex(b"\x1b[?1049h")


def test_stopped_from_outside_it_leaves_the_terminal_as_it_was(running: FakeServer):
    with watching(running) as terminal:
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.wait()
        assert b"\x1b[?1049l" in terminal.raw


@pytest.mark.parametrize("words", [(), ("--url", "http://127.0.0.1:9"), ("--port", "9")])
def test_without_a_terminal_it_names_what_does_without(mlm, words):
    result = mlm("stats", "--live", *words)
    assert result.exit_code == ExitCode.USAGE
    assert "mlm stats --json" in result.stderr


@pytest.mark.parametrize(
    "words",
    [("--live", "--json"), ("--live", "--since", "1d"), ("--live", "--by", "day"),
     ("--url", "http://x"), ("--port", "8000"), ("--live", "--url", "http://x", "--port", "1")],
)  # fmt: skip
def test_options_that_do_not_go_together_are_a_usage_error(mlm, words):
    assert mlm("stats", *words).exit_code == ExitCode.USAGE


def test_without_a_server_it_says_how_to_start_one():
    with typed("stats", "--live") as terminal:
        terminal.wait_for("hint: mlm serve REF")
        assert terminal.wait() == ExitCode.NOT_FOUND


def test_a_server_that_does_not_answer_is_a_network_error():
    with typed("stats", "--live", "--port", "9") as terminal:
        terminal.wait_for("cannot talk to http://127.0.0.1:9")
        assert terminal.wait() == ExitCode.NETWORK


def test_a_key_is_read_from_a_file(tmp_path: Path):
    missing = tmp_path / "no-such-file"
    with typed("stats", "--live", "--port", "9", "--api-key-file", missing) as terminal:
        terminal.wait_for("cannot read the key")
        assert terminal.wait() == ExitCode.NOT_FOUND


def test_which_server_is_meant():
    from mlm.cli._live import choose_server
    from mlm.server.registry import RunningServer

    one, two = (
        RunningServer(pid, 0.0, f"http://127.0.0.1:{pid}", {}, False, False) for pid in (1, 2)
    )
    assert choose_server([one], None, None) is one
    assert choose_server([one, two], "http://localhost:2/v1/", None) is two
    assert choose_server([one, two], None, two.url) is two, "the one watched before"
    assert choose_server([two], None, one.url) is two, "it has come back elsewhere"
    assert choose_server([one], "http://elsewhere:8000", None) is None
    with pytest.raises(NotFoundError):
        choose_server([], None, None)
    with pytest.raises(UsageError, match="several servers"):
        choose_server([one, two], None, None)
