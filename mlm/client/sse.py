"""Server-sent events, as the HTML standard defines the stream (section "Event stream")."""

from dataclasses import dataclass

# An answer's event is a few hundred bytes; whoever sends megabytes without an end is broken.
MAX_EVENT_BYTES = 16 * 1024 * 1024


class OversizedEvent(ValueError):
    """One event is longer than `MAX_EVENT_BYTES`."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; ``name`` is "message" unless the server named it."""

    name: str
    data: str


class EventStream:
    """Turns bytes, cut anywhere, into whole events. Comments, ids and retry times are dropped."""

    def __init__(self) -> None:
        self._unfinished = b""  # the line that has not ended yet
        self._after_cr = False  # a line ended in CR: an LF that comes next belongs to it
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that ``data`` completes.

        Raises:
            OversizedEvent: an event grows without end.
        """
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        if data:
            self._after_cr = data.endswith(b"\r")
        events = []
        for line in (self._unfinished + data).splitlines(keepends=True):
            if line.endswith((b"\r", b"\n")):
                self._unfinished = b""
                event = self._take_line(line.rstrip(b"\r\n"))
                if event:
                    events.append(event)
            else:
                self._unfinished = line
        if self._size + len(self._unfinished) > MAX_EVENT_BYTES:
            raise OversizedEvent
        return events

    def _take_line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            event = ServerSentEvent(self._name or "message", "\n".join(self._data))
            empty = not self._data
            self._name, self._data, self._size = "", [], 0
            return None if empty else event
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", errors="replace")
        if field == b"data":
            self._data.append(text)
            self._size += len(value)
        elif field == b"event":
            self._name = text
        return None
