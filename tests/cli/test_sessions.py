"""``mlm sessions``: what was said is listed, shown, found, taken away and deleted."""

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

import pexpect
import pytest
from rich.cells import cell_len

from mlm.errors import ExitCode
from mlm.sessions.store import Sessions
from mlm.sessions.types import Message, Summary

NOW = time.time()


def talk(home: Path, *texts: str, title: str = "Sorting", days_ago: float = 0) -> Summary:
    """Save a conversation of questions and answers."""
    at = NOW - days_ago * 86400
    messages = [
        Message("assistant" if i % 2 else "user", text, at + i, model="qwen3-8b")
        for i, text in enumerate(texts)
    ]
    with Sessions(home / "sessions.sqlite") as sessions:
        return sessions.begin(messages, title=title, model="qwen3-8b", ref="qwen3-8b:Q4_K_M")


@pytest.fixture
def sorting(home: Path) -> Summary:
    return talk(home, "How do I sort a list?", "With **sort**:\n\n```python\nsorted(x)\n```")


def left(home: Path) -> list[str]:
    with Sessions(home / "sessions.sqlite") as sessions:
        return [known.id for known in sessions.summaries()]


def test_without_any_it_says_how_to_begin_and_makes_no_file(mlm, home):
    result = mlm("sessions", "list")
    assert (result.exit_code, result.stdout) == (ExitCode.OK, "")
    assert "mlm chat" in result.stderr
    assert json.loads(mlm("sessions", "list", "--json").stdout)["sessions"] == []
    assert mlm("sessions", "show").exit_code == ExitCode.NOT_FOUND
    assert mlm("sessions", "rm", "--all", "--yes").exit_code == ExitCode.OK
    assert not (home / "sessions.sqlite").exists()


def test_the_list_has_the_last_one_first(mlm, home, sorting):
    newer = talk(home, "Hi", "Hello", title="Hi")
    lines = mlm("sessions", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", newer.id, sorting.id]
    assert "Sorting" in lines[2]
    document = json.loads(mlm("sessions", "list", "--json", "-n", "1").stdout)
    assert document["schema"] == "mlm.sessions.list/1"
    assert [found["id"] for found in document["sessions"]] == [newer.id]
    assert "-n 10" in mlm("sessions", "list", "-n", "1").stderr


def test_titles_of_wide_characters_stay_on_the_screen_and_in_their_column(mlm, home, monkeypatch):
    talk(home, "Hi", title="今日はいい天気ですね、散歩に行きましょうか、本を読みましょうか")
    talk(home, "Hi", title="Walks")
    monkeypatch.setenv("COLUMNS", "60")
    lines = mlm("sessions", "list").stdout.splitlines()
    assert all(cell_len(line) <= 60 for line in lines)
    assert lines[2].endswith("…")
    begins = [cell_len(line[: line.rindex("  ") + 2]) for line in lines]
    assert len(set(begins)) == 1


@pytest.mark.parametrize("columns", [20, 30, 40, 60])
def test_where_there_is_no_room_for_all_columns_the_title_stays(mlm, sorting, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    head, line = mlm("sessions", "list").stdout.splitlines()
    assert head.endswith("  TITLE")
    assert line.endswith("  Sorting")
    assert max(len(head), len(line)) <= columns


@pytest.mark.parametrize("words", ["list", "search sort"])
def test_all_of_them_are_asked_for_with_a_number_beyond_all_bounds(mlm, sorting, words):
    assert sorting.id in mlm("sessions", *words.split(), "-n", "9" * 30).stdout


def test_hostile_titles_and_texts_command_nothing(mlm, home):
    evil = "[red]a\x1b]0;pwned\x07b[/nonsense]\x9b2J\u202e"
    known = talk(home, evil, evil, title=evil)
    for words in (["list"], ["show"], ["search", "a"], ["export"], ["rename", known.id, evil]):
        result = mlm("sessions", *words)
        assert result.exit_code == ExitCode.OK, result.stderr
        assert "[red]" in result.stdout
        assert not set("\x1b\x07\x9b\u202e") & set(result.stdout + result.stderr)
    result = mlm("sessions", "rm", known.id)
    assert not set("\x1b\x07\x9b\u202e") & set(result.stdout + result.stderr)


def test_show_in_a_pipe_is_markdown_and_takes_a_short_id(mlm, sorting):
    shown = mlm("sessions", "show", sorting.id[:5]).stdout
    assert shown.startswith("# Sorting\n")
    assert "## Question\n\nHow do I sort a list?" in shown
    assert "```python\nsorted(x)\n```" in shown
    document = json.loads(mlm("sessions", "show", "--json").stdout)
    assert [message["role"] for message in document["messages"]] == ["user", "assistant"]
    assert document["id"] == sorting.id


def test_show_at_a_terminal_renders_markdown(sorting):
    environment = {**os.environ, "TERM": "xterm-256color"}
    shown = pexpect.run(
        f"{sys.executable} -m mlm sessions show", env=environment, encoding="utf-8", timeout=60
    )
    assert "sorted(x)" in shown
    assert "```" not in shown
    assert "**" not in shown


def test_an_unknown_id_is_met_with_a_near_one(mlm, sorting):
    result = mlm("sessions", "show", sorting.id[:-1] + "x")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert sorting.id in result.stderr


def test_search_marks_what_it_found(mlm, home, sorting):
    talk(home, "Tell me of cats", "Cats purr", title="Cats", days_ago=10)
    result = mlm("sessions", "search", "sort", "list")
    assert "How do I **sort** a **list**?" in result.stdout
    assert sorting.id in result.stdout
    (hit,) = json.loads(mlm("sessions", "search", "purr", "--json").stdout)["hits"]
    assert (hit["session"]["title"], hit["position"], hit["snippet"]) == ("Cats", 1, "Cats purr")
    assert hit["matches"] == [[5, 9]]
    assert mlm("sessions", "search", "purr", "--since", "7d").stdout == ""
    assert mlm("sessions", "search", "purr", "--role", "user").stdout == ""
    assert mlm("sessions", "search", "purr", "--model", "llama").stdout == ""
    assert "purr" in mlm("sessions", "search", "purr", "--model", "QWEN").stdout


def test_where_something_was_found_is_said_on_one_line(mlm, home):
    known = talk(
        home, "Walks", title="今日はいい天気ですね、散歩に行きましょうか、本を読みましょうか"
    )
    line = mlm("sessions", "search", "walks").stdout.splitlines()[0]
    assert line.startswith(f"{known.id}  今日")
    assert "… · user · " in line
    assert cell_len(line) <= 80


def test_a_long_find_is_indented_below_where_it_was(mlm, home, monkeypatch):
    talk(home, "The moon is made of cheese, said the mouse, and the cat agreed with it")
    monkeypatch.setenv("COLUMNS", "40")
    _, *said = mlm("sessions", "search", "cheese").stdout.splitlines()
    assert len(said) > 1
    assert all(line.startswith("  ") and len(line) <= 40 for line in said)


@pytest.mark.parametrize("words", ['"', "AND (", "* NEAR", "a OR OR", "'; DROP TABLE x; --", "-x-"])
def test_no_words_are_a_command_to_the_database(mlm, sorting, words):
    result = mlm("sessions", "search", "--", words)
    assert (result.exit_code, result.stdout) == (ExitCode.OK, "")
    assert "Nothing was found" in result.stderr


def test_an_export_is_a_page_or_a_request(mlm, tmp_path, sorting):
    assert mlm("sessions", "export").stdout == mlm("sessions", "show").stdout
    body = json.loads(mlm("sessions", "export", "--format", "json").stdout)
    assert body["model"] == "qwen3-8b"
    assert body["messages"][0] == {"role": "user", "content": "How do I sort a list?"}
    assert set(body) == {"model", "messages"}
    for name in ("talk.json", "talk.md"):
        assert mlm("sessions", "export", sorting.id, "-o", tmp_path / name).stdout == ""
    assert json.loads((tmp_path / "talk.json").read_text()) == body
    assert (tmp_path / "talk.md").read_text().startswith("# Sorting\n")
    result = mlm("sessions", "export", "-o", tmp_path / "no" / "folder.md")
    assert result.exit_code == ExitCode.USAGE
    assert mlm("sessions", "export", "-o", tmp_path).exit_code == ExitCode.USAGE
    assert mlm("sessions", "export", "-o", "-").stdout.startswith("# Sorting\n")


def test_an_export_writes_over_nothing_unless_told_to(mlm, tmp_path, sorting):
    page, pipe = tmp_path / "talk.md", tmp_path / "pipe"
    page.write_text("mine")
    assert mlm("sessions", "export", "-o", page).exit_code == ExitCode.CONFLICT
    assert page.read_text() == "mine"
    assert mlm("sessions", "export", "-o", page, "--force").exit_code == ExitCode.OK
    assert page.read_text().startswith("# Sorting\n")
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert mlm("sessions", "export", "-o", pipe).exit_code == ExitCode.OK
    assert pipe.is_fifo() and os.read(reading, 100_000).startswith(b"# Sorting\n")
    os.close(reading)


def test_nobody_else_may_read_an_export(mlm, tmp_path, sorting):
    page = tmp_path / "talk.md"
    assert mlm("sessions", "export", "-o", page).exit_code == ExitCode.OK
    assert page.stat().st_mode & 0o777 == 0o600


def test_a_conversation_can_be_called_something_else(mlm, sorting):
    assert mlm("sessions", "rename", sorting.id[:4], "Lists, sorted").exit_code == ExitCode.OK
    assert mlm("sessions", "rename", sorting.id, " ").exit_code == ExitCode.USAGE
    assert "Lists, sorted" in mlm("sessions", "list").stdout


def test_deleting_asks_first(mlm, home, sorting):
    result = mlm("sessions", "rm", sorting.id)
    assert result.exit_code == ExitCode.USAGE
    assert "Sorting" in result.stderr
    assert "--yes" in result.stderr
    assert left(home) == [sorting.id]
    other = talk(home, "Hi", "Hello")
    result = mlm("sessions", "rm", sorting.id[:4], sorting.id, other.id, "--yes")
    assert result.stdout == "removed 2 conversations\n"
    assert left(home) == []


def test_a_person_at_a_terminal_is_asked(home, sorting):
    child = pexpect.spawn(
        sys.executable, ["-m", "mlm", "sessions", "rm", "--all"], encoding="utf-8", timeout=60
    )
    child.expect("Delete 1 conversation: .*Sorting.*y/N")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == ExitCode.INTERRUPTED
    assert left(home) == [sorting.id]


def test_the_old_ones_can_be_deleted(mlm, home, sorting):
    talk(home, "Hi", "Hello", days_ago=40)
    document = json.loads(mlm("sessions", "rm", "--older-than", "30d", "--yes", "--json").stdout)
    assert len(document["removed"]) == 1
    assert left(home) == [sorting.id]


@pytest.mark.parametrize("words", [[], ["--all", "ab"], ["--all", "--older-than", "3d"]])
def test_what_to_delete_must_be_said_in_one_way(mlm, home, sorting, words):
    assert mlm("sessions", "rm", "--yes", *words).exit_code == ExitCode.USAGE
    assert left(home) == [sorting.id]


def test_a_damaged_file_is_said_and_kept(mlm, home):
    home.mkdir()
    (home / "sessions.sqlite").write_bytes(b"garbage" * 1000)
    result = mlm("sessions", "list")
    assert result.exit_code == ExitCode.OK
    assert "sessions.sqlite.broken-" in result.stderr
    (aside,) = home.glob("*.broken-*")
    assert aside.read_bytes() == b"garbage" * 1000


def test_a_file_of_a_newer_mlm_is_refused(mlm, home, sorting):
    database = sqlite3.connect(home / "sessions.sqlite")
    database.execute("PRAGMA user_version = 9")
    database.close()
    result = mlm("sessions", "list", "--json")
    assert result.exit_code == ExitCode.CONFLICT
    assert json.loads(result.stdout)["error"]["remedy"]
    assert list(home.glob("*.broken*")) == []
