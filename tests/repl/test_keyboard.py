"""Completion offers what fits at the cursor; the history is private."""

import stat
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory

from mlm.repl.keyboard import ChatCompleter, is_completing, open_history


def complete(text: str) -> list[str]:
    completer = ChatCompleter(lambda: [("qwen3-8b", "served"), ("phi-2", "catalog")])
    return [c.text for c in completer.get_completions(Document(text), CompleteEvent())]


def test_a_slash_offers_the_commands():
    assert {"/save", "/set", "/stats", "/system"} <= set(complete("/s"))
    assert complete("/thi") == ["/thinking"]
    assert complete("Hi /s") == []


def test_model_offers_what_there_is():
    assert complete("/model q") == ["qwen3-8b"]
    assert complete("/model ") == ["qwen3-8b", "phi-2"]


@pytest.mark.parametrize("typed", ["/save {}/ta", "/attach {}/ta", "what is in @{}/ta", "@{}/ta"])
def test_files_are_offered_where_they_are_named(tmp_path: Path, typed: str):
    (tmp_path / "talk.md").touch()
    assert complete(typed.format(tmp_path)) == ["lk.md"]


def test_an_address_names_no_file(tmp_path: Path):
    (tmp_path / "talk.md").touch()
    assert complete(f"me@{tmp_path}/ta") == []
    assert complete(f"@{tmp_path}/ta and") == []


@pytest.mark.parametrize(
    ("text", "is_wanted"),
    [("/mo", True), ("see @src", True), ("see src", False), ("", False), ("a\n/b", False)],
)
def test_only_commands_and_files_are_completed_unasked(text: str, is_wanted: bool):
    assert is_completing(Document(text)) == is_wanted


def test_the_history_is_for_its_owner_only(tmp_path: Path):
    history = open_history(tmp_path / "home" / "chat_history")
    assert isinstance(history, FileHistory)
    assert stat.S_IMODE((tmp_path / "home" / "chat_history").stat().st_mode) == 0o600


def test_a_home_that_cannot_be_written_only_costs_the_history(tmp_path: Path):
    (tmp_path / "file").touch()
    assert isinstance(open_history(tmp_path / "file" / "chat_history"), InMemoryHistory)


def test_a_history_that_becomes_a_folder_does_not_end_the_chat(tmp_path: Path):
    history = open_history(tmp_path / "chat_history")
    (tmp_path / "chat_history").unlink()
    (tmp_path / "chat_history").mkdir()
    history.append_string("Hi")


def test_what_may_come_after_a_command_is_offered():
    assert complete("/set temp") == ["temperature"]
    assert complete("/context s") == ["summarise"]
    assert "undo" in complete("/help ")
    assert complete("/set temperature 0") == []
