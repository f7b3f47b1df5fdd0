"""The terminal while a person chats: the input stays, and what is said scrolls by above it."""

import asyncio
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer, ThreadedCompleter
from prompt_toolkit.cursor_shapes import ModalCursorShapeConfig
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.renderer import print_formatted_text

from mlm.errors import MlmError
from mlm.repl.bindings import TOO_LONG, Acts, make_bindings
from mlm.repl.keyboard import CONTINUATION, is_completing
from mlm.repl.layout import STYLE, live_room, make_layout
from mlm.repl.loop import PROMPT
from mlm.repl.output import WholeOutput
from mlm.repl.paste import MAX_INPUT_CHARS
from mlm.repl.recall import first_lines
from mlm.repl.reflow import follow_reflow, is_reflowing
from mlm.repl.rendering import Line
from mlm.repl.view import DIM, PATIENCE_S, AnswerView
from mlm.repl.waiting import UNKNOWN

# Between two drawings of an answer: as long as the chat needs to take a seventh of a core in all,
# so that it leaves the machine to the model.
_FRAME_S, _LONGEST_FRAME_S = 0.05, 0.25
_FRAME_PER_CPU = 7
_NOTICE_S = 4.0


class _Application(Application[None]):
    """An application that finds its input again in a window that became narrower."""

    def follow(self) -> None:
        """Take into account what the terminal has done to what is drawn."""
        if is_reflowing():
            follow_reflow(self.renderer, self.output.get_size().columns)

    def _on_resize(self) -> None:
        assert isinstance(self.output, WholeOutput)
        with self.output.held():
            self.follow()
            super()._on_resize()


class ChatApplication:
    """Runs in the main thread, while `talk` runs in another one and uses it as its keyboard.

    What is printed goes above the input, in one write with the redrawn input, and is never
    touched again. What is typed while an answer comes waits for its turn.
    """

    def __init__(
        self,
        terminal: tuple[Input, WholeOutput],
        history: History,
        completer: Completer,
        *,
        is_vi: bool,
        status: Callable[[int, AnswerView | None], str],
        hang_up: Callable[[], None],
    ) -> None:
        keys, self._output = terminal
        self._status = status
        self._hang_up = hang_up
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._waiting: list[str] = []  # typed while something else is done
        self._is_busy = False
        self._has_left = False
        self._stop = threading.Event()
        self._view: AnswerView | None = None
        self._wait = UNKNOWN
        self._live: list[Line] = []
        self._held_back: list[Line] | None = None  # while another program has the terminal
        self._notice, self._notice_until = "", 0.0
        self._buffer = Buffer(
            name=DEFAULT_BUFFER,
            multiline=True,
            history=history,
            completer=ThreadedCompleter(completer),
            complete_while_typing=Condition(lambda: is_completing(self._buffer.document)),
            accept_handler=self._accept,
            on_text_changed=self._keep_short,
            tempfile_suffix=".md",
        )
        self._app = _Application(
            layout=make_layout(self._buffer, self._live_lines, self._status_line),
            style=STYLE,
            key_bindings=make_bindings(Acts(self._interrupt, self._leave, self._warn, self._edit)),
            editing_mode=EditingMode.VI if is_vi else EditingMode.EMACS,
            cursor=ModalCursorShapeConfig() if is_vi else None,  # tells the modes of vi
            input=keys,
            output=self._output,
            erase_when_done=True,
        )
        self._app.before_render += lambda app: self._app.follow()
        self._app.ttimeoutlen = 0.05  # Escape is a key, not only the start of one
        self._app.timeoutlen = 0.3
        self._failure: BaseException | None = None

    # What the main thread does.

    def run(self, talk: Callable[[], None]) -> None:
        """Run ``talk`` in a thread of its own, and the terminal in this one, until either ends."""
        asyncio.run(self._main(talk))
        if self._failure:
            raise self._failure

    def once_shown(self, act: Callable[[], None]) -> None:
        """Have ``act`` done in a thread of its own as soon as the input is on the screen."""

        def begin(app: Application[None]) -> None:
            app.after_render -= begin
            threading.Thread(target=act, daemon=True).start()

        self._app.after_render += begin

    async def _main(self, talk: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._fail)
        for ending in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(ending, self._leave)  # and leave the terminal in order
        worker = threading.Thread(target=self._work, args=(talk,), name="talk")
        try:
            with suppress(EOFError):  # the terminal has gone
                await self._app.run_async(pre_run=worker.start, set_exception_handler=False)
        finally:
            self._has_left = True  # what waits is not asked any more
            self._lines.put(None)
            self._stop_answer()
            await asyncio.to_thread(worker.join)

    def _work(self, talk: Callable[[], None]) -> None:
        try:
            talk()
        except BaseException as error:
            self._failure = error
        finally:
            self._loop.call_soon_threadsafe(self._leave)

    def _fail(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failure = context.get("exception") or RuntimeError(context["message"])
        self._leave()

    # What keys do.

    def _accept(self, buffer: Buffer) -> bool:
        line = buffer.text.encode("utf-8", "replace").decode()  # no halves of characters
        self._waiting.append(line)
        self._lines.put(line)
        return False

    def _interrupt(self) -> None:
        if self._is_busy:
            self._take_back()
            self._stop_answer()
        elif self._buffer.text:
            self._buffer.reset()
            self._accept(self._buffer)  # of nothing: an edit, too, is over
        else:
            self._warn("Ctrl-D leaves")

    def _take_back(self) -> None:
        """Put what waits to be asked into the input again: who stops an answer may think anew."""
        taken: list[str] = []
        with suppress(queue.Empty):  # what the other thread has got is asked
            while True:
                taken.append(self._lines.get_nowait() or "")
        if taken:
            del self._waiting[-len(taken) :]
            typed = [self._buffer.text] if self._buffer.text else []
            self._buffer.text = "\n".join([*taken, *typed])
            self._buffer.cursor_position = len(self._buffer.text)

    def _leave(self) -> None:
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    def _warn(self, text: str) -> None:
        self._notice, self._notice_until = text, time.monotonic() + _NOTICE_S
        self._loop.call_later(_NOTICE_S, self._app.invalidate)
        self._app.invalidate()

    def _keep_short(self, buffer: Buffer) -> None:
        if len(buffer.text) > MAX_INPUT_CHARS:
            buffer.text = buffer.text[:MAX_INPUT_CHARS]
            self._warn(TOO_LONG)

    def _edit(self) -> None:
        self._held_back = []

        def come_back(_task: "asyncio.Task[None]") -> None:
            lines, self._held_back = self._held_back or [], None
            self._print(lines)

        self._buffer.open_in_editor().add_done_callback(come_back)

    def _stop_answer(self) -> None:
        self._stop.set()
        if self._is_busy:
            self._hang_up()

    # What the other thread asks for.

    @property
    def is_stopped(self) -> bool:
        """Whether the person wants no more of this answer."""
        return self._stop.is_set()

    @property
    def width(self) -> int:
        """How many columns the terminal has."""
        return self._output.get_size().columns

    def read(self, draft: str = "") -> str:
        """Return the next line, once it is on the screen as asked; EOFError when there is none.

        ``draft`` is put into the input, unless something is typed there.
        """
        self._post(lambda: self._rest(draft))
        line = self._lines.get()
        if line is None or self._has_left:
            raise EOFError
        self._post(lambda: self._begin(line))
        return line

    def print(self, lines: Sequence[Line]) -> None:
        """Print lines above the input."""
        self._post(lambda: self._print(lines))

    @contextmanager
    def showing(self, view: AnswerView, why: Callable[[], str]) -> Iterator[None]:
        """Draw ``view`` as it grows, until the end of this; ``why`` explains a long wait."""
        ended = asyncio.Event()
        done: Future[None] = Future()

        def begin() -> None:
            self._view = view
            self._app.create_background_task(self._ask_why(view, why))
            self._loop.create_task(self._animate(view, ended)).add_done_callback(finish)

        def finish(task: "asyncio.Task[None]") -> None:
            error = task.exception()
            done.set_exception(error) if error else done.set_result(None)

        self._post(begin)
        try:
            yield
        finally:
            self._post(ended.set)
            done.result()

    def _post(self, act: Callable[[], None]) -> None:
        """Have the main thread do something, and wait until it is done."""
        done: Future[None] = Future()

        def do() -> None:
            try:
                act()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result()

    def _rest(self, draft: str) -> None:
        self._is_busy = False
        if draft and not self._buffer.text and not self._waiting:
            self._buffer.text = draft
            self._buffer.cursor_position = len(draft)

    def _begin(self, line: str) -> None:
        self._is_busy = True
        if not self._has_left:
            self._stop.clear()
        self._waiting.pop(0)
        if not line.strip():
            return
        self._print(echo(line))

    # Drawing.

    async def _animate(self, view: AnswerView, ended: asyncio.Event) -> None:
        used_s = time.process_time()
        while not ended.is_set():
            size = self._output.get_size()
            room = live_room(self._buffer, size)
            frame = await asyncio.to_thread(view.draw, size.columns, room, self._wait)
            self._draw(frame.finished, [*frame.live, []] if frame.live else [])
            before_s, used_s = used_s, time.process_time()
            pause = min(max(_FRAME_S, _FRAME_PER_CPU * (used_s - before_s)), _LONGEST_FRAME_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), pause)
        lines = await asyncio.to_thread(view.end, self._output.get_size().columns)
        self._view = None
        self._draw(lines, [])

    async def _ask_why(self, view: AnswerView, why: Callable[[], str]) -> None:
        self._wait = UNKNOWN
        while self._view is view and not view.tokens:
            await asyncio.sleep(PATIENCE_S)
            try:
                self._wait = await asyncio.to_thread(why)
            except MlmError:
                return  # not a server of ours, or it does not tell everybody

    def _draw(self, finished: Sequence[Line], live: list[Line]) -> None:
        has_changed, self._live = live != self._live, live
        if finished:
            self._print(finished)
        elif has_changed:
            self._app.invalidate()

    def _print(self, lines: Sequence[Line]) -> None:
        if self._held_back is not None:
            self._held_back += lines
            return
        text: StyleAndTextTuples = []
        for line in lines:
            text += [*line, ("", "\n")]
        with self._output.held():
            if self._app.is_running:
                self._app.follow()
                self._app.renderer.erase()
            print_formatted_text(self._output, text, STYLE, color_depth=self._app.color_depth)
            if self._app.is_running and not self._app.is_done:
                self._app.render_counter += 1  # what was laid out before is out of date
                self._app.renderer.render(self._app, self._app.layout)

    def _live_lines(self) -> list[Line]:
        waiting = " ".join(self._waiting).split() if self._is_busy else []
        return [*self._live, *([[(DIM, f"next: {' '.join(waiting)}")]] if waiting else [])]

    def _status_line(self, width: int) -> str:
        if time.monotonic() < self._notice_until:
            return self._notice
        return self._status(width, self._view)


def echo(line: str, most: int | None = None) -> list[Line]:
    """Return what was typed as it stands above its answer, at ``most`` so many lines of it."""
    kept = line.split("\n") if most is None else first_lines(line, most)
    heads = [PROMPT, *[CONTINUATION] * (len(kept) - 1)]
    shown = [text.expandtabs(4) for text in kept]  # as the input had it
    return [[("bold", head + text)] for head, text in zip(heads, shown, strict=True)]
