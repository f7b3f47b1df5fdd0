"""Where things stand at the bottom of the terminal: the live lines, the input, the status."""

from collections.abc import Callable
from itertools import islice

from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    ConditionalContainer,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    VerticalAlign,
    Window,
)
from prompt_toolkit.layout.processors import HighlightSelectionProcessor, TabsProcessor
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth
from prompt_toolkit.widgets import SearchToolbar

from mlm.repl.keyboard import CONTINUATION
from mlm.repl.loop import PROMPT
from mlm.repl.rendering import Line

MENU_ROWS = 8
STYLE = Style.from_dict(  # the terminal's own colours: readable on a dark and a light background
    {
        "status": "dim",
        "search-toolbar": "dim",
        "completion-menu": "noreverse",
        "completion-menu.completion": "noreverse",
        "completion-menu.completion.current": "reverse",
        "completion-menu.meta.completion": "dim",
        "completion-menu.meta.completion.current": "dim reverse",
        "scrollbar.background": "",
        "scrollbar.button": "reverse",
    }
)


def make_layout(
    buffer: Buffer, get_live: Callable[[], list[Line]], get_status: Callable[[int], str]
) -> Layout:
    """Return the layout; ``get_live`` and ``get_status`` (of a width) are asked at each drawing."""
    search = SearchToolbar(ignore_case=True)
    control = BufferControl(
        buffer,
        search_buffer_control=search.control,
        input_processors=[HighlightSelectionProcessor(), TabsProcessor(char1=" ", char2=" ")],
        preview_search=True,
    )
    window = Window(
        control,
        height=lambda: _input_height(buffer),
        get_line_prefix=_prefix,
        wrap_lines=True,
        dont_extend_height=True,
    )
    body = HSplit(
        [
            _live_window(get_live),
            window,
            search,
            Window(
                FormattedTextControl(lambda: get_status(_columns())),
                style="class:status",
                height=1,
                dont_extend_height=True,
            ),
        ],
        align=VerticalAlign.TOP,
    )
    menu = CompletionsMenu(max_height=MENU_ROWS, scroll_offset=1, extra_filter=has_focus(buffer))
    return Layout(FloatContainer(body, [Float(menu, xcursor=True, ycursor=True)]), window)


def live_room(buffer: Buffer, size: Size) -> int:
    """Return how many live lines have room above the input on a screen of this ``size``."""
    widths = (len(PROMPT) + get_cwidth(line) + 1 for line in buffer.document.lines)
    typed = sum(-(-width // size.columns) for width in islice(widths, size.rows))
    taken = min(typed, size.rows // 2) + 2  # the status and an empty line
    return max(size.rows - taken, 1)


def _live_window(get_live: Callable[[], list[Line]]) -> ConditionalContainer:
    def fragments() -> StyleAndTextTuples:
        found: StyleAndTextTuples = []
        for line in get_live():
            found += [*line, ("", "\n")]
        return found[:-1]

    window = Window(
        FormattedTextControl(fragments),
        height=lambda: Dimension.exact(len(get_live())),
        dont_extend_height=True,
    )
    return ConditionalContainer(window, Condition(lambda: bool(get_live())))


def _input_height(buffer: Buffer) -> Dimension:
    rows = get_app().output.get_size().rows
    menu = min(MENU_ROWS + 1, max(rows - 4, 1)) if buffer.complete_state else 1
    return Dimension(min=menu, max=max(rows // 2, menu))


def _prefix(line: int, wrap: int) -> str:
    return (CONTINUATION if line else PROMPT) if wrap == 0 else ""


def _columns() -> int:
    return get_app().output.get_size().columns
