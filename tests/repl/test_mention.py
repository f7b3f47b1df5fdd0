"""An @ names a file where there is one, and is text everywhere else."""

from pathlib import Path

import pytest

from mlm.repl.mention import find_mentions


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.md", "my notes.md", "Makefile", "a.py"):
        (tmp_path / name).write_text("text")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "b.py").write_text("text")
    return tmp_path


def files_of(text: str) -> list[str]:
    return [mention.name for mention in find_mentions(text) if mention.is_file]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@notes.md", ["notes.md"]),
        ("What does @notes.md say?", ["notes.md"]),
        ("Compare @notes.md, @a.py and (@Makefile).", ["notes.md", "a.py", "Makefile"]),
        ('Read @"my notes.md" please', ["my notes.md"]),
        ("Is it in @src/b.py?\nOr @./a.py", ["src/b.py", "./a.py"]),
        ("All of @src/ then", ["src/"]),
        ("All of @src/*.py, then", ["src/*.py"]),
        ("@notes.md and @notes.md again", ["notes.md"]),
    ],
)
def test_files_are_found(text: str, names: list[str]):
    assert files_of(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "mail me@notes.md",
        "@dataclass\nclass A: ...",
        '@app.route("/")',
        "@src is a folder, or a person",
        "@ nothing",
        "@@notes.md",
        "@\0",
        "@" + "x" * 5000,
        "@~nobody-of-this-name/x",
        "@**",
    ],
)
def test_everything_else_is_text(text: str, folder: Path):
    assert [name for name in files_of(text) if name != "**"] == []


def test_a_path_that_is_not_there_is_worth_a_word():
    (wrong, person) = find_mentions("see @src/c.py, @somebody")
    assert (wrong.name, wrong.is_file, wrong.looks_like_one) == ("src/c.py,", False, True) or (
        wrong.name,
        wrong.is_file,
        wrong.looks_like_one,
    ) == ("src/c.py", False, True)
    assert not person.looks_like_one


def test_a_home_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(folder))
    assert files_of("@~/notes.md") == ["~/notes.md"]
