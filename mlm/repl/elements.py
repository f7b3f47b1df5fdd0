"""What rich makes of Markdown, where a chat wants something else. Imports all of rich."""

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ListItem, Markdown, MarkdownElement, TableElement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from markdown_it.token import Token

CODE_INDENT = 2
_COLOURS = {  # of the terminal's own; neither blue nor yellow, each lost on one of the backgrounds
    "Comment": "dim",
    "Keyword": "magenta",
    "Operator.Word": "magenta",
    "Name.Function": "bold",
    "Name.Class": "bold",
    "Name.Decorator": "cyan",
    "Name.Builtin": "cyan",
    "Name.Tag": "magenta",
    "Name.Attribute": "cyan",
    "Literal.String": "green",
    "Literal.Number": "cyan",
    "Generic.Inserted": "green",
    "Generic.Deleted": "red",
    "Generic.Heading": "bold",
    "Generic.Subheading": "bold",
}


def highlight(source: str, language: str) -> Text:
    """Return code in colours; in none if nobody knows its language."""
    source = source.expandtabs(4)
    return _syntax(language).highlight(source) if language else Text(source)


@lru_cache(maxsize=16)
def _syntax(language: str) -> Syntax:
    colours = {tuple(kind.split(".")): Style.parse(style) for kind, style in _COLOURS.items()}
    return Syntax("", language, theme=ANSISyntaxTheme(colours), word_wrap=True)


class _LeftHeading(Heading):
    """A heading at the left, where the eye is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _NestedCode(CodeBlock):
    """A code block inside of a list or a quote."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        language = "" if self.lexer_name == "text" else self.lexer_name
        code = highlight(str(self.text).rstrip("\n"), language)
        yield Padding(code, (0, 0, 0, CODE_INDENT), expand=False)


class _Item(ListItem):
    """An item whose number takes as much room in a long list as in the first lines of it."""

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        numeral = f"{number:>2}. "
        inner = options.update(width=options.max_width - len(numeral))
        style = console.get_style("markdown.item.number")
        for index, line in enumerate(console.render_lines(self.elements, inner, style=self.style)):
            yield Segment(" " * len(numeral) if index else numeral, style)
            yield from line
            yield Segment.line()


class _WholeTable(TableElement):
    """A table whose long words are folded, not cut: addresses and sums are there to be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            yield table


class Document(Markdown):
    """Parsed Markdown, ready to be laid out."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _LeftHeading,
        "fence": _NestedCode,
        "code_block": _NestedCode,
        "list_item_open": _Item,
        "table_open": _WholeTable,
    }

    def __init__(self, tokens: "list[Token]") -> None:
        super().__init__("", hyperlinks=False)  # a link shows where it leads
        self.parsed = tokens
