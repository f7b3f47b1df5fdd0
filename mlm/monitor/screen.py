"""The live view on a terminal: keys in, the page out."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from mlm.client import Client
from mlm.monitor.charts import writes_blocks
from mlm.monitor.page import draw_page
from mlm.monitor.view import View, list_models, press, settle
from mlm.monitor.watcher import Watcher

_ESCAPE_S = 0.1  # Esc alone leaves: so long may the rest of a longer key take
# Of the terminal's own colours, which are readable on its ground; what they say is in words, too.
_STYLE = Style.from_dict(
    {
        "title": "bold",
        "head": "bold underline",
        "label": "bold",
        "chart": "ansicyan",
        "good": "ansigreen",
        "bad": "ansired bold",
        "changing": "ansiyellow",
        "chosen": "bold",
        "question": "reverse",
    }
)


class Screen:
    """Shows a server until a person has seen enough."""

    def __init__(self, dial: Callable[[float], Client], *, colour: bool) -> None:
        """``dial`` is that of `mlm.monitor.watcher.Watcher`."""
        self._view = View()
        self._pretty = writes_blocks()
        self._watcher = Watcher(dial, lambda: self._application.invalidate())
        keys = KeyBindings()
        keys.add("c-z")(lambda event: event.app.suspend_to_background())
        keys.add(Keys.Any)(self._press)
        window = Window(FormattedTextControl(self._draw), always_hide_cursor=True)
        self._application: Application[None] = Application(
            Layout(window),
            key_bindings=keys,
            style=_STYLE,
            color_depth=None if colour else ColorDepth.DEPTH_1_BIT,
            full_screen=True,
        )
        self._application.ttimeoutlen = _ESCAPE_S

    def run(self) -> None:
        """Return when the person leaves, or the terminal goes away.

        Raises:
            MlmError: the server cannot be asked even once.
        """
        self._watcher.look()
        try:
            self._application.run(pre_run=self._begin)
        except EOFError:
            pass
        finally:
            self._watcher.stop()

    def _begin(self) -> None:
        with suppress(NotImplementedError, AttributeError):  # on Windows there is neither
            for number in (signal.SIGTERM, signal.SIGHUP):  # leave the terminal as it was
                asyncio.get_running_loop().add_signal_handler(number, self._application.exit)
        self._watcher.start()

    def _draw(self) -> StyleAndTextTuples:
        size, sight = self._application.output.get_size(), self._watcher.sight
        self._view = settle(self._view, list_models(sight, self._view.order))
        lines = draw_page(sight, self._view, size.columns, size.rows, pretty=self._pretty)
        fragments: StyleAndTextTuples = []
        for line in lines:
            fragments += [*line, ("", "\n")]
        return fragments[:-1]

    def _press(self, event: KeyPressEvent) -> None:
        key = event.key_sequence[0].key
        rows = list_models(self._watcher.sight, self._view.order)
        self._view, wish = press(self._view, str(getattr(key, "value", key)), rows)
        if wish is None:
            return
        if wish.kind == "quit":
            event.app.exit()
        elif wish.kind == "hold":
            self._watcher.pause(paused=not self._watcher.sight.paused)
        else:
            self._watcher.order(wish.action, wish.model)
