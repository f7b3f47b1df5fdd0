"""What the documentation tells people to type exists, and takes the options that it is given."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mlm.cli.app import app
from mlm.manifest.manifest_file import read_manifest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("how-to/*.md")])
MACHINES = ROOT / "docs/how-to/set-up-machines.md"
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "EXPOSE", "CMD"}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROCESS = re.compile(r"[<>]\([^)]*\)")  # a shell's <(command): the name of a pipe
_TYPED = re.compile(r"(?:^|[\s(/|&;`=\"])mlm ((?:--?[a-z]|[a-z]+)(?:\\\n|[^\n|&;`#<>)])*)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and text of each block of code."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def typed_commands(page: Path) -> list[list[str]]:
    """Return the words after ``mlm`` of everything in a page's code that somebody would type."""
    found = []
    for _, text in blocks(page):
        for words in _TYPED.findall(_PROCESS.sub("PIPE", text)):
            line = re.split(r"\s{3,}", re.sub(r"\\\n\s*", "", words).strip())[0]
            found.append(shlex.split(line.removesuffix('"]')))
    return found


def parse(words: list[str]) -> None:
    """Let the command line read ``words`` without doing anything."""
    asks_for_help = "--help" in words
    words = [word for word in words if word != "--help"]
    command: Any = typer.main.get_command(app)
    context = command.make_context("mlm", ["--quiet"], resilient_parsing=True)
    while words and hasattr(command, "get_command"):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = command.make_context(
            name,
            words,
            parent=context,
            resilient_parsing=asks_for_help or hasattr(command, "get_command"),
        )


def cases() -> Iterator[Any]:
    for page in PAGES:
        for words in typed_commands(page):
            yield pytest.param(words, id=f"{page.stem}: {' '.join(words)[:60]}")


@pytest.mark.parametrize("words", list(cases()))
def test_every_command_that_a_page_types_is_one(words: list[str]):
    parse([word for word in words if word not in ("--offline", "--quiet")])


def test_the_samples_hold_commands_to_check():
    typed = [" ".join(words) for words in typed_commands(MACHINES)]
    for begin in (
        "setup https://",
        "setup /etc/mlm/mlm.lock --json",
        "sync --frozen",
        "serve --host",
    ):
        assert any(line.startswith(begin) for line in typed), (begin, typed)


@pytest.mark.parametrize("words", [["sync", "--forzen"], ["setpu", "x"], ["setup"]])
def test_what_is_wrong_would_be_found(words: list[str]):
    with pytest.raises((typer.TyperException, AssertionError)):
        parse(words)


def test_every_yaml_block_is_yaml():
    texts = [text for page in PAGES for language, text in blocks(page) if language == "yaml"]
    assert len(texts) >= 2
    assert all(yaml.safe_load(text) for text in texts)


def test_the_cloud_config_is_one():
    (text,) = [text for _, text in blocks(MACHINES) if text.startswith("#cloud-config\n")]
    config = yaml.safe_load(text)
    assert set(config) == {"packages", "write_files", "runcmd"}
    assert {file["path"] for file in config["write_files"]} >= set(config["runcmd"])


def test_every_task_of_the_playbook_has_a_name_and_one_module():
    (text,) = [text for _, text in blocks(MACHINES) if "ansible.builtin" in text]
    (play,) = yaml.safe_load(text)
    for task in play["tasks"]:
        assert task["name"]
        assert len([key for key in task if key.startswith("ansible.builtin.")]) == 1


def test_the_dockerfile_has_only_instructions():
    (text,) = [text for language, text in blocks(MACHINES) if language == "dockerfile"]
    lines = text.replace("\\\n", " ").splitlines()
    assert {line.split()[0] for line in lines} == INSTRUCTIONS
    assert lines[0].startswith("FROM ")


def test_the_manifest_that_the_page_begins_with_is_one(tmp_path: Path):
    (text,) = re.findall(r"<<'END'\n(.*?)END\n", MACHINES.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "mlm.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_manifest(path).models[0].smoke.expect == "4"
