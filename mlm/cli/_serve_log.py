"""What `mlm serve` says while it runs: on a terminal, in a log, or as JSON lines."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from mlm.cli._log_limit import limited_log, log_path
from mlm.cli._log_lines import LineHandler, LogFormat, make_handler
from mlm.cli._outlet import Outlet, Stream
from mlm.server.run import Changed, Listening, Loaded, ServerEvent, Stopping
from mlm.terminal import printable

if TYPE_CHECKING:
    from mlm.cli._session import Session

_KEY = ' -H "Authorization: Bearer $KEY"'
_EXAMPLE = """curl {url}/v1/chat/completions{key} -H 'Content-Type: application/json' \\
       -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""


@contextmanager
def open_log(
    session: "Session", *, as_json: bool, log_format: LogFormat = "text"
) -> "Iterator[Callable[[ServerEvent], None]]":
    """Yield what shows the events of a server; its log goes to stderr meanwhile."""
    handler = make_handler(log_format)
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("mlm").setLevel(logging.WARNING if session.quiet else logging.INFO)
    try:
        with limited_log(log_path(session.settings.home.logs, os.getpid())):
            if as_json:
                with closing(LineHandler(_EventLines(), "stdout")) as lines:
                    yield lambda event: lines.emit(_record_of(event))
            else:
                with closing(Outlet()) as outlet:
                    yield _Announcer(session, outlet).tell
    finally:
        root.removeHandler(handler)
        handler.close()


class _EventLines(logging.Formatter):
    """Each event as a line of JSON. A program that does not read them must not stop the server."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event: object = record.msg
        if not isinstance(event, ServerEvent):
            return json.dumps({"event": "message", "message": record.getMessage()})
        return json.dumps({"event": type(event).__name__.lower(), **asdict(event)})


def _record_of(event: ServerEvent) -> logging.LogRecord:
    return logging.LogRecord("mlm.serve", logging.INFO, "", 0, event, (), None)


class _Announcer:
    """Says it in words: what a person acts on goes to stdout, progress to stderr."""

    def __init__(self, session: "Session", outlet: Outlet) -> None:
        self._quiet = session.quiet
        self._outlet = outlet
        self._url = ""
        self._key = ""
        self._on_terminal = sys.stderr.isatty() and not session.quiet
        self._percent: dict[str, int] = {}

    def tell(self, event: ServerEvent) -> None:
        """Show one event."""
        match event:
            case Listening():
                self._url = event.url
                self._key = _KEY if event.needs_key else ""
                self._say("stdout", f"Listening at {event.url}\n")
            case Changed():
                self._show_change(event)
            case Loaded():
                self._suggest(event.model_ids)
            case Stopping():
                self._note("Stopping; Ctrl-C again stops at once")

    def _show_change(self, event: Changed) -> None:
        name = printable(event.model_id)
        if event.state != "starting":
            self._percent.pop(name, None)
            self._clear_line()
            words = {"ready": "loaded", "stopping": "unloading", "stopped": "unloaded"}
            self._note(f"{name} {words[event.state]}")
        elif self._on_terminal:
            if (percent := int(event.progress * 100)) != self._percent.get(name):
                self._percent[name] = percent
                self._say("stderr", f"\r\x1b[2Kloading {name} {percent} %")
        elif name not in self._percent:
            self._percent[name] = 0
            self._note(f"loading {name}")

    def _suggest(self, model_ids: tuple[str, ...]) -> None:
        self._clear_line()
        if not model_ids:
            self._note("Ready; models are loaded when a client asks for them")
        elif not self._quiet:
            model = printable(model_ids[0])
            example = _EXAMPLE.format(url=self._url, key=self._key, model=model)
            self._say("stdout", f"Ready. Try: {example}\n  or: mlm chat {model}\n")

    def _clear_line(self) -> None:
        if self._on_terminal:
            self._say("stderr", "\r\x1b[2K")

    def _note(self, text: str) -> None:
        if not self._quiet:
            self._say("stderr", f"{text}\n")

    def _say(self, stream: Stream, text: str) -> None:
        self._outlet.put(stream, lambda: text)
