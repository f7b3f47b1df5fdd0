"""The log of `mlm serve` on stderr: lines for people, or JSON lines."""

import json
import logging
import time
from typing import Literal

from mlm.cli._outlet import Outlet, Stream
from mlm.server.access import AccessLine, describe_request
from mlm.terminal import printable, printable_json

LogFormat = Literal["text", "json"]


class LineHandler(logging.Handler):
    """Writes records as lines; how many were lost, because nobody read them, is one more line."""

    def __init__(self, formatter: logging.Formatter, stream: Stream = "stderr") -> None:
        super().__init__()
        self._stream = stream
        self.setFormatter(formatter)
        self._outlet = Outlet(self._tell_lost)

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written soon."""
        self._outlet.put(self._stream, lambda: f"{self.format(record)}\n")

    def close(self) -> None:
        """Write what is still waiting, unless nobody takes it."""
        self._outlet.close()
        super().close()

    def _tell_lost(self, count: int) -> tuple[Stream, str]:
        note = "%d lines of this log are missing: it was not read"
        record = logging.LogRecord("mlm.log", logging.WARNING, "", 0, note, (count,), None)
        return self._stream, f"{self.format(record)}\n"


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
