"""The log of `mlm serve` on stderr: lines for people, or JSON lines; nobody waits for it."""

import json
import logging
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import Literal, TextIO

from mlm.server.access import AccessLine, describe_request
from mlm.terminal import printable, printable_json

LogFormat = Literal["text", "json"]
_MAX_WAITING = 2000  # lines; a terminal that was stopped (Ctrl-S) must not stop the server
_FAREWELL_S = 1.0  # for the last lines to be written


class LineHandler(logging.Handler):
    """Writes records on a thread of its own; lines for which there is no room are counted."""

    def __init__(self, formatter: logging.Formatter, stream: TextIO | None = None) -> None:
        """Write to ``stream``; None: whatever is stderr by then."""
        super().__init__()
        self._stream = stream
        self.setFormatter(formatter)
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="write log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written soon."""
        try:
            self._records.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is still waiting, unless nobody takes it."""
        with suppress(queue.Full):
            self._records.put(None, timeout=_FAREWELL_S)
        self._thread.join(_FAREWELL_S)
        super().close()

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            self._write(self.format(record))
            if self._dropped and self._records.empty():
                dropped, self._dropped = self._dropped, 0
                note = "%d lines of this log are missing: it was not read"
                lost = logging.LogRecord("mlm.log", logging.WARNING, "", 0, note, (dropped,), None)
                self._write(self.format(lost))

    def _write(self, line: str) -> None:
        rest = f"{line}\n".encode("utf-8", "replace")
        with suppress(OSError, ValueError):  # the reader has gone, or the stream is closed
            # Not by `print`: a lock that this thread holds at the end would be Python's own end.
            number = (self._stream or sys.stderr).fileno()
            while rest:
                rest = rest[os.write(number, rest) :]


def make_handler(log_format: LogFormat) -> LineHandler:
    """Return what writes the log of this process."""
    return LineHandler(_JsonLines() if log_format == "json" else _TextLines())


class _TextLines(logging.Formatter):
    """A line for each record, whatever clients and model files have put into it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; a control character in it is written as an escape."""
        return _escape(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback if there is one."""
        return printable(super().format(record))


class _JsonLines(logging.Formatter):
    """A JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return it on one line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        if isinstance(record.msg, AccessLine):
            figures = describe_request(record.msg.stats)
            del figures["at"]  # the time of the line
            line |= {"event": "request", **figures}
        else:
            line |= {"event": "message", "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return printable_json(json.dumps(line))


def _escape(text: str) -> str:
    """Return ``text`` on one line: ``\\n`` for a line break, ``\\x1b`` for an escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
