"""Help that helps: examples that work, at any width, and the word that was meant."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from mlm.cli._help import HelpContext, example_block
from mlm.cli.app import app
from mlm.errors import ExitCode

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: str = "mlm") -> Iterator[tuple[str, Any]]:
    """Yield every command and group of the tree below ``group``, with what is typed for it."""
    yield path, group
    if hasattr(group, "list_commands"):
        for name in group.list_commands(None):
            yield from commands(group.get_command(None, name), f"{path} {name}")


COMMANDS = dict(commands())
EXAMPLES = [(path, line) for path, command in COMMANDS.items() for line in command.examples]


def mlm_words(line: str) -> list[str]:
    """Return the words after ``mlm`` in an example, without other commands and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set("();<>|&"):
            parts.append([])
        else:
            parts[-1].append(token)
    (words,) = [part[1:] for part in parts if part[:1] == ["mlm"]]
    return words


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_examples(path: str):
    examples = COMMANDS[path].examples
    assert 2 <= len(examples) <= 4
    assert all(meaning and not meaning.endswith(".") for meaning in examples.values())
    assert "For example" not in (COMMANDS[path].help or "")


@pytest.mark.parametrize(("path", "line"), EXAMPLES)
def test_every_example_is_accepted_by_its_command(path: str, line: str):
    command, words = ROOT, mlm_words(line)
    context = command.make_context("mlm", list(words))
    typed = "mlm"
    while hasattr(command, "list_commands"):
        name, command, words = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, list(words), parent=context)
        typed += f" {name}"
    assert path in (typed, typed.rsplit(" ", 1)[0], "mlm")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_keeps_to_the_width_of_the_terminal(monkeypatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    for path, command in COMMANDS.items():
        text = command.get_help(HelpContext(command, info_name=path))
        longest = max((x for x in text.splitlines() if '"' not in x), key=len)
        unbreakable = max(map(len, longest.split()))
        assert len(longest) <= max(min(columns, 80), unbreakable + 10), longest


def test_an_example_can_be_copied_at_any_width(mlm, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = mlm("config", "generate", "--help").stdout
    examples = text.partition("Examples:\n")[2]
    assert (
        "  # For a server with eight users\n  mlm config generate qwen3-8b \\\n      --" in examples
    )
    joined = examples.replace("\\\n", "")
    typed = [shlex.split(line) for line in joined.splitlines() if line.strip()[:3] == "mlm"]
    assert [" ".join(words) for words in typed] == list(COMMANDS["mlm config generate"].examples)


def test_a_quoted_text_is_never_torn_apart():
    block = example_block({'mlm run x "two words that are long"': "Ask"}, 24)
    assert '"two words that are long"' in block


def test_help_can_be_asked_for_in_either_order(mlm):
    for words in (["download"], ["config", "show"], []):
        asked = mlm("help", *words)
        assert asked.exit_code == ExitCode.OK
        assert asked.stdout == mlm(*words, "--help").stdout


def test_bounds_of_numbers_are_in_words(mlm):
    assert "1 to 256" in " ".join(mlm("recommend", "--help").stdout.split())
    assert "x>=1" not in mlm("plan", "--help").stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("sessions list -n 0", "0 is not at least 1"),
        ("sessions list -n x", "'x' is not a whole number"),
        ("stats --live --port 70000", "70000 is not in the range 1 to 65535"),
        ("run x y --temperature x", "'x' is not a number"),
        ("config export x", "It is one of llama-server, llama-server-ini, ollama, systemd\n"),
        ("sessions rename 3f9a -dash", "-- before a word that begins with a dash"),
    ],
)
def test_what_is_wrong_with_a_word_is_said_in_one_plain_line(mlm, words: str, complaint: str):
    result = mlm(*words.split())
    assert result.exit_code == ExitCode.USAGE
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_nothing_is_no_slip_of_anything(mlm):
    result = mlm("")
    assert result.exit_code == ExitCode.USAGE
    assert "mlm has no command ''" in result.stderr
    assert "did you mean" not in result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("donwload qwen3-8b", "did you mean download?"),
        ("pull qwen3-8b", "did you mean download?"),
        ("ls", "did you mean list?"),
        ("config sow x", "did you mean show?"),
        ("plan qwen3-8b --contxt 4096", "did you mean --ctx?"),
        ("config show x --jsn", "did you mean --json?"),
        ("recommend --use cod", "did you mean code?"),
        ("config generate x --profile prodution", "did you mean production?"),
        ("completion bas", "did you mean bash?"),
        ("help donwload", "did you mean download?"),
    ],
)
def test_a_slip_of_the_finger_is_recognised(mlm, words: str, meant: str):
    result = mlm(*words.split())
    assert result.exit_code == ExitCode.USAGE
    assert meant in result.stderr
    assert "\nhint: mlm " in result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("show qwen3-8", "qwen3-8b"),
        ("bench qwen3-8", "qwen3-8b"),
        ("plan qwen3-8", "qwen3-8b"),
        ("catalog show qwen38b", "qwen3-8b"),
        ("download qwen3-8b:Q4_KM", "qwen3-8b:Q4_K_M"),
        ("plan qwen3-8b:Q4_KM", "qwen3-8b:Q4_K_M"),
        ("recommend --hardware rtx-490", "RTX 4090"),
    ],
)
def test_a_name_that_is_nearly_right_is_recognised(mlm, warm_home, words: str, meant: str):
    result = mlm(*words.split())
    assert result.exit_code == ExitCode.NOT_FOUND
    assert meant in result.stderr


def test_a_value_of_the_environment_that_is_nearly_right_is_recognised(mlm, monkeypatch):
    monkeypatch.setenv("MLM_OFFLINE", "ture")
    result = mlm("list")
    assert result.exit_code == ExitCode.USAGE
    assert "hint: export MLM_OFFLINE=true" in result.stderr
