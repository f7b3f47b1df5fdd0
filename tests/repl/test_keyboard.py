"""Completion offers what fits at the cursor; the history is private."""

import stat
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory

from mlm.errors import NetworkError
from mlm.repl.keyboard import SlashCompleter, _open_history


def complete(text: str, models=lambda: ("qwen3-8b", "phi-2")) -> list[str]:
    completer = SlashCompleter(models)
    return [c.text for c in completer.get_completions(Document(text), CompleteEvent())]


def test_a_slash_offers_the_commands():
    assert complete("/s") == ["/system", "/set", "/stats", "/save"]
    assert complete("Hi /s") == []


def test_model_offers_what_the_server_has():
    assert complete("/model q") == ["qwen3-8b"]


def test_a_server_that_is_gone_does_not_break_typing():
    def gone() -> tuple[str, ...]:
        raise NetworkError("nobody listens there")

    assert complete("/model ", gone) == []


def test_save_offers_files(tmp_path: Path):
    (tmp_path / "talk.md").touch()
    assert complete(f"/save {tmp_path}/ta") == ["lk.md"]


def test_the_history_is_for_its_owner_only(tmp_path: Path):
    history = _open_history(tmp_path / "home" / "chat_history")
    assert isinstance(history, FileHistory)
    assert stat.S_IMODE((tmp_path / "home" / "chat_history").stat().st_mode) == 0o600


def test_a_home_that_cannot_be_written_only_costs_the_history(tmp_path: Path):
    (tmp_path / "file").touch()
    assert isinstance(_open_history(tmp_path / "file" / "chat_history"), InMemoryHistory)
