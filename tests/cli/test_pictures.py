"""Pictures that go with a question, and are kept with the conversation."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.mlm_serve import mlm_serve
from fakes.openai_server import OpenAIServer, pictures_of, text_of
from fakes.picture_files import png
from fakes.spectator import at_terminal
from fakes.tiny_models import write_tiny_model
from fakes.tiny_projector import write_tiny_projector

from mlm.client import Client
from mlm.errors import ExitCode
from mlm.repl.chat import Chat
from mlm.repl.commands import run_command
from mlm.repl.measure import measure

pytestmark = pytest.mark.usefixtures("warm_home", "no_stdin")

RED = png(8, 6)


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.models = ["seer", "tiny"]
    openai_server.blind = ["tiny"]
    openai_server.announce(home)
    return openai_server


@pytest.fixture(autouse=True)
def red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "red.png").write_bytes(RED)
    return tmp_path / "red.png"


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Put bytes on stdin."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


def sent(server: OpenAIServer) -> list[tuple[list[bytes], str]]:
    """The pictures and the text of each question that went along last."""
    messages = [said for said in server.asked[-1].body["messages"] if said["role"] == "user"]
    return [(pictures_of(said["content"]), text_of(said["content"])) for said in messages]


def nobody_was_asked(server: OpenAIServer) -> bool:
    return not any(asked.body for asked in server.asked)


def test_a_question_is_asked_about_a_picture(mlm, server):
    result = mlm("run", "seer", "-a", "red.png", "What is this?")
    assert (result.stdout, result.stderr) == ("Hello there\n", "")
    assert sent(server) == [([RED], "What is this?")]


def test_a_picture_may_come_from_a_pipe(mlm, server, pipe):
    pipe(RED)
    assert mlm("run", "seer", "What is this?").stdout == "Hello there\n"
    assert sent(server) == [([RED], "What is this?")]


def test_what_was_made_of_a_large_picture_is_said(mlm, server, red):
    red.write_bytes(png(4000, 300))
    result = mlm("run", "seer", "-a", "red.png", "What is this?")
    assert result.stderr == "note: red.png: 4000x300 made 2048x154 to send it\n"
    ((pictures, _),) = sent(server)
    assert pictures[0].startswith(b"\xff\xd8\xff")


def test_a_model_without_eyes_is_not_asked(mlm, server, pipe):
    result = mlm("run", "tiny", "-a", "red.png", "What is this?")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == (
        "error: red.png is a picture, and this model takes no pictures\n"
        "hint: `mlm recommend --use vision` names models that do\n"
    )
    pipe(RED)
    document = mlm("run", "tiny", "What is this?", "--json").json
    assert document["error"]["code"] == "takes_no_pictures"
    assert nobody_was_asked(server)


def test_a_server_that_does_not_say_what_its_models_take_is_asked(mlm, server):
    server.blind = None
    assert mlm("run", "tiny", "-a", "red.png", "What is this?").exit_code == ExitCode.OK
    assert sent(server) == [([RED], "What is this?")]


def test_a_picture_without_a_question_is_no_question(mlm, server):
    result = mlm("run", "seer", "-a", "red.png")
    assert result.exit_code == ExitCode.USAGE
    assert "there is no question about red.png" in result.stderr
    assert nobody_was_asked(server)


def test_what_only_pretends_to_be_a_picture_is_refused(mlm, server, red):
    red.write_bytes(RED[:40])
    result = mlm("run", "seer", "-a", "red.png", "What is this?")
    assert result.exit_code == ExitCode.USAGE
    assert "error: red.png is no whole picture: " in result.stderr
    assert nobody_was_asked(server)


def test_of_a_folder_pictures_go_to_who_sees_them(mlm, server, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("A\n")
    (folder / "red.png").write_bytes(RED)
    text = f"{folder}/a.txt:\n```txt\nA\n```\n\nSum up"
    assert mlm("run", "seer", "-a", folder, "Sum up").stderr == ""
    assert sent(server) == [([RED], text)]
    assert "left out as no text: red.png" in mlm("run", "tiny", "-a", folder, "Sum up").stderr
    assert sent(server) == [([], text)]


def test_more_pictures_than_a_request_holds_are_refused(mlm, server, tmp_path):
    for number in range(17):
        (tmp_path / f"{number}.png").write_bytes(RED)
    result = mlm("run", "seer", "-a", "*.png", "Which is the best?")
    assert result.exit_code == ExitCode.USAGE
    assert "18 pictures are too many for one request, of 16 and 5 MiB at most" in result.stderr
    assert nobody_was_asked(server)


def test_a_template_and_a_schema_go_with_pictures(mlm, server, tmp_path):
    template = tmp_path / "template.txt"
    template.write_text("Look at it.\n{{input}}")
    server.says('{"colour": "red"}')
    words = ("run", "seer", "-t", template, "-a", "red.png", "--schema", "colour")
    assert mlm(*words).stdout == '{"colour": "red"}\n'
    assert sent(server) == [([RED], "Look at it.\n")]
    mlm(*words, "Which colour?")
    assert sent(server) == [([RED], "Look at it.\nWhich colour?")]
    template.write_text("Which colour?")
    mlm(*words)
    assert sent(server) == [([RED], "Which colour?")]


def test_what_is_saved_goes_on_is_shown_taken_elsewhere_and_removed(mlm, server, tmp_path, home):
    mlm("run", "seer", "-a", "red.png", "What is this?", "--save")
    mlm("run", "-c", "Why?")
    assert sent(server) == [([RED], "What is this?"), ([], "Why?")]
    result = mlm("run", "tiny", "-c", "And?")
    assert "This model takes no pictures: the earlier picture is left out" in result.stderr
    caption = "[picture: red.png, 8x6 pixels]\n\nWhat is this?"
    assert sent(server)[0] == ([], caption)
    assert caption in mlm("sessions", "show").stdout
    (first, *_) = mlm("sessions", "show", "--json").json["messages"]
    assert first["content"] == "What is this?"
    assert first["pictures"] == [
        {"name": "red.png", "width": 8, "height": 6, "size_bytes": len(RED)}
    ]
    assert caption in mlm("sessions", "export").stdout
    body = json.loads(mlm("sessions", "export", "--format", "json").stdout)
    assert pictures_of(body["messages"][0]["content"]) == [RED]
    assert mlm("sessions", "search", "this").stdout
    mlm("sessions", "rm", "--all", "--yes")
    assert RED not in (home / "sessions.sqlite").read_bytes()


def test_a_person_shows_pictures_in_a_chat(server, tmp_path):
    with at_terminal("chat", "seer", cwd=tmp_path, HOME=str(tmp_path)) as terminal:
        terminal.sees(">>>")
        terminal.types("What is @red.png?\r")
        terminal.sees("Hello there")
        assert "red.png: 8x6 pixels\n" in terminal.everything
        assert sent(server) == [([RED], "What is @red.png?")]
        terminal.types("/attach red.png\r")
        terminal.sees("It goes with the next question")
        terminal.types("/model tiny\r")
        terminal.sees("This model takes no pictures: the earlier picture is left out, and only")
        terminal.types("And this?\r")
        terminal.sees("error: red.png is a picture, and this model takes no pictures")
        terminal.types("/model seer\r")
        terminal.sees("Now talking with seer")
        server.says("Red, too.")
        terminal.types("/retry\r")
        terminal.sees("Red, too.")
        assert terminal.leaves() == 0
    assert sent(server) == [([RED], "What is @red.png?"), ([RED], "And this?")]
    with at_terminal("chat", "-c", cwd=tmp_path, HOME=str(tmp_path)) as terminal:
        terminal.sees(">>> [picture: red.png, 8x6 pixels] And this?")
        server.says("Because.")
        terminal.types("Why?\r")
        terminal.sees("Because.")
        assert terminal.leaves() == 0
    assert sent(server)[1:] == [([RED], "And this?"), ([], "Why?")]


def test_a_script_attaches_pictures_in_a_chat(mlm, server, pipe):
    pipe(b"/attach red.png\nWhat is this?\n")
    assert mlm("chat", "seer").stdout.endswith("Hello there\n")
    assert sent(server) == [([RED], "What is this?")]
    pipe(b"/attach red.png\nWhat is this?\n")
    assert mlm("chat", "tiny").exit_code == ExitCode.USAGE


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of two models alike, of which one has a projector beside it."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("seer", "blind"):
        (folder / name).mkdir()
        write_tiny_model(folder / name / f"{name}.gguf", "gemma3")
    write_tiny_projector(folder / "seer" / "mmproj-F16.gguf", "gemma3")
    return {name: str(folder / name / f"{name}.gguf") for name in ("seer", "blind")}


def test_a_model_that_has_to_be_loaded_first_is_shown_what_it_can_see(mlm, models, home):
    words = ("What is this?", "--max-tokens", "2", "--ctx", "512", "--threads", "1", "--json")
    told = mlm("run", models["seer"], *words).json["usage"]["prompt_tokens"]
    shown = mlm("run", models["seer"], "-a", "red.png", *words).json["usage"]["prompt_tokens"]
    assert shown > told + 30
    refused = mlm("run", models["blind"], "-a", "red.png", *words)
    assert refused.json["error"]["code"] == "takes_no_pictures"


def test_a_config_may_close_the_eyes_of_a_model(mlm, models, home):
    mlm("config", "generate", models["seer"], "--ctx", "512", "--threads", "1")
    (config,) = (home / "config").glob("*.yaml")
    config.write_text(config.read_text().replace("vision: true", "vision: false"))
    result = mlm("run", models["seer"], "-a", "red.png", "What is this?", "--max-tokens", "2")
    assert result.exit_code == ExitCode.USAGE
    assert "red.png is a picture, and this model takes no pictures" in result.stderr


def test_what_a_picture_was_said_to_cost_is_what_it_costs(models, tmp_path, home):
    words = ("--ctx", "512", "--threads", "1")
    with mlm_serve(home, models["seer"], *words) as running:
        running.wait_for("loaded")
        with Client(running.url) as client:
            for name, picture in {"red.png": RED, "wide.png": png(100, 40)}.items():
                (tmp_path / name).write_bytes(picture)
                chat, said = Chat(client, "seer", params={"max_tokens": 2}), []
                chat.say = said.append
                run_command(chat, f"/attach {name}")
                question = chat.read_question("What is this?")
                sizes = measure(chat.tokens, chat.model, chat.conversation, question)
                list(chat.ask(question))
                usage = chat.answers[-1].finished.usage
                assert (sizes.fixed, sizes.is_exact) == (usage.prompt_tokens, True)
                assert re.fullmatch(rf"{name}: \d+x\d+ pixels, \d+ tokens", said[0])
