"""What ``mlm run`` answers to a person is saved like a chat, and can be gone on with."""

import io
import sys
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer
from fakes.tiny_models import write_tiny_model
from fakes.typed_terminal import typed

from mlm.errors import ExitCode
from mlm.sessions.store import Sessions
from mlm.sessions.types import Session

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture(autouse=True)
def stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))


def saved(home: Path) -> list[Session]:
    """All conversations, last written first."""
    with Sessions(home / "sessions.sqlite") as sessions:
        return [sessions.read(known) for known in sessions.summaries()]


def texts(session: Session) -> list[str]:
    return [message.text for message in session.messages]


def sent(server: OpenAIServer) -> list[str]:
    return [message["content"] for message in server.asked[-1].body["messages"]]


def test_an_answer_at_a_terminal_is_saved_and_goes_on_without_naming_the_model(
    server: OpenAIServer, mlm, home: Path
):
    with typed("run", "tiny", "Hi", "--system", "Be brief.") as terminal:
        assert terminal.wait() == ExitCode.OK
        assert "Hello there" in terminal.text
    (session,) = saved(home)
    assert texts(session) == ["Be brief.", "Hi", "Hello there"]
    assert (session.summary.title, session.summary.ref) == ("Hi", "tiny")
    assert session.messages[-1].figures["completion_tokens"] == 2

    server.says("Salut")
    assert mlm("run", "-c", "And in French?").stdout == "Salut\n"
    assert sent(server) == ["Be brief.", "Hi", "Hello there", "And in French?"]
    (session,) = saved(home)
    assert texts(session)[-2:] == ["And in French?", "Salut"]

    mlm("run", "tiny", "And in Latin?", "--session", session.summary.id)
    assert sent(server)[-1] == "And in Latin?"
    assert saved(home)[0].summary.n_messages == 7


def test_a_local_file_is_found_again_from_any_folder(
    openai_server: OpenAIServer, mlm, home: Path, tmp_path: Path, monkeypatch
):
    model = write_tiny_model(tmp_path / "tiny.gguf")
    openai_server.announce(home, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert mlm("run", "./tiny.gguf", "Hi", "--save").exit_code == ExitCode.OK
    assert saved(home)[0].summary.ref == str(model)
    monkeypatch.chdir(home)
    assert mlm("run", "-c", "And?").stdout == "Hello there\n"
    assert saved(home)[0].summary.n_messages == 4


@pytest.mark.parametrize(("words", "is_saved"), [((), False), (("--save",), True)])
def test_into_a_pipe_it_is_saved_only_if_wanted(server, mlm, home: Path, words, is_saved: bool):
    assert mlm("run", "tiny", "Hi", *words).exit_code == ExitCode.OK
    assert (home / "sessions.sqlite").exists() == is_saved


@pytest.mark.parametrize(("words", "is_saved"), [((), True), (("--no-save",), False)])
@pytest.mark.usefixtures("server")
def test_a_setting_may_have_all_saved(mlm, home: Path, monkeypatch, words, is_saved: bool):
    monkeypatch.setenv("MLM_SAVE_CHATS", "1")
    assert mlm("run", "tiny", "Hi", *words).exit_code == ExitCode.OK
    assert (home / "sessions.sqlite").exists() == is_saved


def test_at_a_terminal_it_can_be_left_unsaved(server, home: Path):
    with typed("run", "tiny", "Hi", "--no-save") as terminal:
        assert terminal.wait() == ExitCode.OK
    assert not (home / "sessions.sqlite").exists()


def test_what_files_and_schemas_add_is_no_title_and_no_system_prompt(
    server: OpenAIServer, mlm, home: Path, tmp_path: Path
):
    (tmp_path / "a.py").write_text("x = 1\n")
    server.says('{"name": "Ada"}')
    words = ("--schema", "name", "-a", str(tmp_path / "a.py"), "--save")
    assert mlm("run", "tiny", "Who wrote it?", *words).exit_code == ExitCode.OK
    (session,) = saved(home)
    assert session.summary.title == "Who wrote it?"
    assert [message.role for message in session.messages] == ["user", "assistant"]
    assert "x = 1" in session.messages[0].text
    assert session.messages[0].typed == "Who wrote it?"
    assert "schema" in sent(server)[0]


def test_as_much_as_came_of_an_answer_that_broke_off_is_saved(
    server: OpenAIServer, mlm, home: Path
):
    server.breaks_off_after("Hello", " th")
    assert mlm("run", "tiny", "Hi", "--save").exit_code == ExitCode.NETWORK
    (session,) = saved(home)
    assert texts(session) == ["Hi", "Hello th"]
    assert session.messages[-1].stopped


def test_what_cannot_be_saved_is_answered_all_the_same(server, mlm, home: Path):
    (home / "sessions.sqlite").mkdir()
    result = mlm("run", "tiny", "Hi", "--save")
    assert (result.exit_code, result.stdout) == (ExitCode.OK, "Hello there\n")
    assert result.stderr.startswith("warning: Not saved: ")
    assert len(result.stderr.splitlines()) == 1


def test_with_nothing_to_go_on_with_the_first_word_is_still_the_model(server, mlm):
    result = mlm("run", "tiny", "Hi", "-c")
    assert (result.exit_code, result.stdout) == (ExitCode.OK, "Hello there\n")
    assert "this is the first" in result.stderr
    result = mlm("run", "tiny", "Hi", "--session", "nope")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm sessions list" in result.stderr
