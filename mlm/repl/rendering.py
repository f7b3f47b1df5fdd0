"""Markdown as styled lines for a terminal. Only the terminal's own 16 colours are used.

So an answer is readable on a dark and on a light background, and in whatever the person has chosen.
"""

import io
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from mlm.repl.markdown import Code, Part, Prose, parser
from mlm.terminal import printable

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console, RenderableType
    from rich.style import Style
    from rich.text import Text

Line = list[tuple[str, str]]  # pieces: a style in prompt_toolkit's words, and a text

MIN_WIDTH = 10
_FIRST_COLUMN = re.compile(r"\S.{0,40}?  +(?=\S)")
_LEAST_COLUMN, _INDENT = 24, 4  # of a table whose rows are wrapped, in columns
_THEME = {
    "markdown.h1": "bold underline",
    "markdown.h2": "bold underline",
    "markdown.h3": "bold",
    "markdown.h4": "bold",
    "markdown.h5": "bold",
    "markdown.h6": "bold",
    "markdown.code": "cyan",
    "markdown.block_quote": "italic",
    "markdown.item.bullet": "bold",
    "markdown.item.number": "bold",
    "markdown.hr": "dim",
    "markdown.link": "underline",
    "markdown.link_url": "dim",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
}
_ANSI = (
    "ansiblack", "ansired", "ansigreen", "ansiyellow",
    "ansiblue", "ansimagenta", "ansicyan", "ansigray",
)  # fmt: skip


def render(parts: Iterable[Part], width: int, *, is_first: bool) -> Iterator[Line]:
    """Yield the lines of ``parts``, none wider than ``width`` columns.

    An empty line comes before each part that is not joined to the one before it, but not before
    the very first one of an answer (``is_first``).
    """
    for part in parts:
        if not part.joined and not is_first:
            yield []
        is_first = False
        yield from _render(part, max(width, MIN_WIDTH))


def wrap_words(text: str, width: int) -> list[str]:
    """Return plain ``text`` as lines of at most ``width`` columns, broken between words."""
    from prompt_toolkit.utils import get_cwidth

    lines = text.expandtabs(8).split("\n")
    if all(get_cwidth(line) <= width for line in lines):
        return lines  # without waiting for rich
    from rich.text import Text

    wrapped = [line for one in lines for line in _wrap(Text(one), max(width, 1))]
    return ["".join(text for _, text in line) for line in wrapped]


def wrap_rows(text: str, width: int) -> list[str]:
    """Return the rows of a table as `wrap_words` does, but what goes on in a next line indented.

    It stands below the second column, or only a little to the right where that is narrow.
    """
    from prompt_toolkit.utils import get_cwidth

    lines: list[str] = []
    for row in text.expandtabs(8).split("\n"):
        first, *more = wrap_words(row, width)
        lines.append(first)
        if more and (column := _FIRST_COLUMN.match(row)):
            indent = get_cwidth(column[0])
            indent = indent if width - indent >= _LEAST_COLUMN else _INDENT
            more = wrap_words(row[len(first) :].lstrip(), max(width - indent, 1))
            more = [" " * indent + line for line in more]
        lines += more
    return lines


def load() -> None:
    """Import what rendering needs: a tenth of a second that the first word need not wait for."""
    list(render([Prose("*a*\n\n- `b`"), Code("python", ("c = 1",))], 80, is_first=True))


def _render(part: Part, width: int) -> Iterator[Line]:
    from mlm.repl.elements import CODE_INDENT, Document, highlight

    if isinstance(part, Prose):
        yield from _lines_of(Document(_parse(part.source)), width)
        return
    lines = highlight("\n".join(part.lines), part.language).split("\n", allow_blank=True)
    for line in lines[part.start : len(part.lines)]:
        for wrapped in _wrap(line, width - CODE_INDENT):
            yield [("", " " * CODE_INDENT), *wrapped]


def _wrap(line: "Text", width: int) -> list[Line]:
    return _lines_of(line, width) or [[]]


def _parse(source: str) -> "list[Token]":
    tokens = parser().parse(source)
    for token in tokens:
        if token.children:
            token.children = list(_legible(token.children))
    return tokens


def _legible(tokens: "Iterable[Token]") -> "Iterator[Token]":
    """Yield the tokens of a text so that its lines stay lines and an image tells where it is."""
    from markdown_it.token import Token

    for token in tokens:
        if token.type == "softbreak":
            yield Token("hardbreak", "br", 0)
        elif token.type == "image":
            yield Token("text", "", 0, content=f"{token.content} ({token.attrs.get('src', '')})")
        elif token.markup != "autolink":  # of that the text is the address
            yield token


@cache
def _console() -> "Console":
    """Return the console that lays text out; nothing is ever printed on it."""
    from rich.console import Console
    from rich.theme import Theme

    return Console(
        file=io.StringIO(),
        theme=Theme(_THEME),
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        emoji=False,
    )


def _lines_of(renderable: "RenderableType", width: int) -> list[Line]:
    options = _console().options.update(width=width, height=None)
    lines = [
        [(_words(style), printable(text)) for text, style, control in line if not control]
        for line in _console().render_lines(renderable, options, pad=False)
    ]
    lines = [_without_end(line) for line in lines]
    filled = [index for index, line in enumerate(lines) if line]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _without_end(line: Line) -> Line:
    """Return a line without the spaces that fill it up."""
    while line and not line[-1][1].rstrip():
        line = line[:-1]
    return [*line[:-1], (line[-1][0], line[-1][1].rstrip())] if line else []


@lru_cache(maxsize=256)
def _words(style: "Style | None") -> str:
    """Return a style in prompt_toolkit's words."""
    if style is None:
        return ""
    names = ("bold", "italic", "underline", "strike", "dim")
    words = [name for name in names if getattr(style, name)]
    if style.color is not None and style.color.number is not None:
        words.append(f"fg:{_ANSI[style.color.number]}")
    return " ".join(words)
