"""An answer in Markdown that is still coming: which parts of it can no longer change."""

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_CONTEXT_LINES = 200  # of code before a line, which its colours may depend on
_SLICE_CHARS = 4096  # looked at in one go, so that a long text is not parsed again and again
_LISTS = ("bullet_list_open", "ordered_list_open")


@dataclass(frozen=True, slots=True)
class Prose:
    """A block of Markdown, or an item of a list, which is ``joined`` to the item before it."""

    source: str
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of a code block from ``start`` on; the ones before it have been given away already."""

    language: str
    lines: tuple[str, ...]
    start: int = 0
    joined: bool = False


Part = Prose | Code


@dataclass(frozen=True, slots=True)
class _Fence:
    """A code block that has begun; ``given`` of its ``lines`` have been given away."""

    mark: str  # ``` or ~~~, as often as it was written
    language: str
    indent: int
    lines: tuple[str, ...] = ()
    given: int = 0
    is_joined: bool = False

    def is_closed_by(self, line: str) -> bool:
        """Tell whether ``line`` is the end of this block."""
        end = line.strip()
        return len(end) >= len(self.mark) and set(end) == {self.mark[0]} and _indent(line) < 4

    def content(self, line: str) -> str:
        """Return ``line`` without the spaces that the block itself is indented by."""
        return line[min(_indent(line), self.indent) :]

    def parts(self, *more: str) -> list[Part]:
        """Return what was not given away yet, with ``more`` lines after it; nothing if empty."""
        lines = (*self.lines, *more)
        is_new = len(lines) > self.given
        return [Code(self.language, lines, self.given, self.is_joined)] if is_new else []

    def after(self, lines: list[str]) -> "_Fence":
        """Return the block as it is once these lines, too, have been given away."""
        kept = (*self.lines, *lines)[-_CONTEXT_LINES:]
        return replace(self, lines=kept, given=len(kept), is_joined=self.is_joined or bool(lines))


def parts_of(text: str) -> list[Part]:
    """Return the parts of a whole text."""
    stream = MarkdownStream()
    stream.feed(text)
    return [*stream.take(), *stream.rest()]


class MarkdownStream:
    """Takes text as it comes and gives away, once and in order, the parts that are finished.

    A block is finished when the next one has begun. Of code the finished lines are given away, of
    a list the finished items: so what is left over stays small however long the answer is.
    """

    def __init__(self) -> None:
        self._coming = ""  # not looked at yet
        self._text = ""  # not given away; in a code block: what follows its last whole line
        self._fence: _Fence | None = None
        self._list: str | None = None  # the kind of list that the text goes on with

    def feed(self, text: str) -> None:
        """Take the next piece of the answer."""
        self._coming += text

    def take(self) -> list[Part]:
        """Return the parts that were finished since the last call."""
        parts: list[Part] = []
        coming, self._coming = self._coming, ""
        for start in range(0, len(coming), _SLICE_CHARS):
            self._text += coming[start : start + _SLICE_CHARS]
            before = -1
            while self._text and len(self._text) != before:
                before = len(self._text)
                parts += self._take_code(self._fence) if self._fence else self._take_prose()
        return parts

    def rest(self) -> list[Part]:
        """Return what is there of the parts that are not finished."""
        if fence := self._fence:
            is_end = set(self._text.strip()) <= {fence.mark[0]}  # or the beginning of it
            return fence.parts(*([] if is_end else [fence.content(self._text)]))
        return _prose(self._units(), _split_lines(self._text))

    def _take_code(self, fence: _Fence) -> list[Part]:
        """Give away the whole lines of a code block; leave it where it ends."""
        *lines, rest = self._text.split("\n")
        end = next((i for i, line in enumerate(lines) if fence.is_closed_by(line)), None)
        new = [fence.content(line) for line in lines[:end]]
        if end is None:
            self._fence, self._text = fence.after(new), rest
        else:
            self._fence, self._text = None, "\n".join([*lines[end + 1 :], rest])
        return fence.parts(*new) if new else []

    def _take_prose(self) -> list[Part]:
        """Give away what is before a code block, else everything but the last block or item."""
        units = self._units()
        lines = _split_lines(self._text)
        fences = (unit for unit in units if unit.fence and "\n" in lines[unit.first])
        end = next(fences, units[-1] if units else None)
        if end is None:
            return []
        given = _prose(units[: units.index(end)], lines[: end.first])
        self._list = end.kind if end.joined else None
        if end.fence and "\n" in lines[end.first]:
            self._fence = _open_fence(end.fence, lines[end.first])
            self._text = "".join(lines[end.first + 1 :])
        else:
            self._text = "".join(lines[end.first :])
        return given

    def _units(self) -> "list[_Unit]":
        """Return the blocks of the text, of outermost lists the items."""
        units: list[_Unit] = []
        kind = self._list
        for token in _skeleton(self._text):
            if token.level == 0 and token.type in _LISTS:
                is_joined, kind = not units and _kind(token) == kind, _kind(token)
            elif token.level == 1 and token.type == "list_item_open":
                units.append(_Unit(_first(token), kind, is_joined))
                is_joined = True
            elif token.level == 0 and token.map:
                fence = token if token.type == "fence" else None
                units.append(_Unit(_first(token), fence=fence))
        return units


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is finished as a whole: a block, or an item of a list of some ``kind``."""

    first: int  # line
    kind: str | None = None
    joined: bool = False
    fence: "Token | None" = None


def _prose(units: list[_Unit], lines: list[str]) -> list[Part]:
    ends = [*(unit.first for unit in units), len(lines)][1:]
    return [
        Prose("".join(lines[unit.first : end]), unit.joined)
        for unit, end in zip(units, ends, strict=True)
    ]


def _split_lines(text: str) -> list[str]:
    return re.findall("[^\n]*\n|[^\n]+", text)


@cache
def parser() -> "MarkdownIt":
    """Return the one parser: tables and strikethrough, HTML is text, and so are definitions."""
    from markdown_it import MarkdownIt

    found = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    return found.disable("reference")  # a link's definition would not be shown at all


def _skeleton(text: str) -> "list[Token]":
    """Return the tokens of the blocks of ``text``; what is written in them is not parsed."""
    tokens: list[Token] = []
    parser().block.parse(text, parser(), {}, tokens)
    return tokens


def _open_fence(token: "Token", line: str) -> _Fence:
    return _Fence(token.markup, token.info.strip().partition(" ")[0], _indent(line))


def _first(token: "Token") -> int:
    assert token.map is not None
    return token.map[0]


def _kind(token: "Token") -> str:
    return token.type + token.markup


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
