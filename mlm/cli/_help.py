"""What ``--help`` shows: as wide as the terminal is, with examples that can be copied."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

_WIDEST, _NARROW, _LEAST = 80, 60, 24  # columns
_QUOTED = r"""(?:[^\s"']|"[^"]*"|'[^']*')+"""
_WORD = re.compile(rf"(?:--?\w[\w-]* (?!-))?{_QUOTED}")  # an option stays with its value
_RANGES = (
    (re.compile(r"(-?[\d.]+)<=x<=(-?[\d.]+)"), r"\1 to \2"),
    (re.compile(r"(?:in the range )?x>=(-?[\d.]+)"), r"at least \1"),
)


class HelpFormatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Lays help out; where there is no room for two columns, the second goes below the first."""

    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write what each option or command means."""
        worded = [(name, describe_range(meaning)) for name, meaning in rows]
        if self.width < _NARROW:
            worded = [(_fold_choices(name, self.width - 6), text) for name, text in worded]
            col_max = 4
        super().write_dl(worded, col_max, col_spacing)


class HelpContext(typer.Context):
    """The context of a command whose help knows how wide the terminal is."""

    formatter_class = HelpFormatter

    def make_formatter(self) -> Any:
        """Return a formatter for the terminal as it is now, of 80 columns at most."""
        columns = min(shutil.get_terminal_size().columns, _WIDEST)
        self.terminal_width = max(columns, _LEAST) - 2
        return super().make_formatter()


class Command(TyperCommand):
    """A command that ends its help with examples: command lines, and what each is for."""

    context_class = HelpContext
    examples: Mapping[str, str] = {}

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, in lines that are never wrapped into each other."""
        formatter.write(example_block(self.examples, formatter.width))


def example_block(examples: Mapping[str, str], width: int) -> str:
    """Return the paragraph "Examples"; what is too long goes on after a backslash, as in a shell.

    So each of them can be copied as it stands. Nothing where there are none.
    """
    if not examples:
        return ""
    lines = ["", "Examples:"]
    for command, meaning in examples.items():
        lines += [f"  # {line}" for line in _fill(meaning.split(), width - 4)]
        lines += _fold(command, width)
        lines.append("")
    return "\n".join(lines)


def describe_range(meaning: str) -> str:
    """Return ``meaning`` with the bounds of a number in words."""
    for pattern, words in _RANGES:
        meaning = pattern.sub(words, meaning)
    return meaning


def _fold_choices(name: str, width: int) -> str:
    """Return an option's name; of many choices those that have no room go to a next line."""
    lines = [""]
    for piece in re.findall(r"[^|\s]+\|?\s*", name):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n      ".join(line.rstrip() for line in lines)


def _fold(command: str, width: int) -> Iterator[str]:
    words = _WORD.findall(command)
    lines = [command] if len(command) + 2 <= width else list(_fill(words, width - 8))
    for number, line in enumerate(lines):
        indent = "      " if number else "  "
        yield f"{indent}{line}" if number == len(lines) - 1 else f"{indent}{line} \\"


def _fill(words: Sequence[str], width: int) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
