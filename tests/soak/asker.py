"""A client that costs little: thousands of requests at once from one loop, each seen to its end."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

HERE = "127.0.0.1"
PATIENCE_S = 60.0  # for the next bytes of an answer

# All there is: answered; answered with an error; ended with an error event; anything else, as a
# connection that was reset, nothing at all for `PATIENCE_S`, or a stream that just ends.
Outcome = Literal["served", "refused", "failed", "lost"]


@dataclass(slots=True, eq=False)
class Answer:
    """What has come back for one request so far. Times are on the monotonic clock."""

    asked_at: float = field(default_factory=time.monotonic)
    ended_at: float = 0.0
    status: int = 0  # 0: no head has come
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    texts: list[str] = field(default_factory=list)  # a piece for each event that had one
    document: Any = None  # of an answer in one piece
    error: str = ""  # its code
    done: bool = False  # the answer is complete, and a stream said so
    whole: bool = False  # the response came to its end, as HTTP has it

    @property
    def outcome(self) -> Outcome:
        """What became of the request."""
        if not self.whole:
            return "lost"
        if self.status != 200:
            return "refused"
        if self.error:
            return "failed"
        return "served" if self.done else "lost"

    @property
    def took_s(self) -> float:
        """Seconds from the wish to connect to the end."""
        return self.ended_at - self.asked_at


class Asker:
    """Asks one server on this machine; each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def get(self, path: str) -> Answer:
        """Get a document."""
        return await self._ask(_request("GET", path, b""), Answer())

    async def post(self, path: str, body: Any, into: Answer | None = None) -> Answer:
        """Send a document; ``into`` fills while the answer comes in."""
        return await self._ask(_request("POST", path, json.dumps(body).encode()), into or Answer())

    async def complete(
        self, model: str, prompt: str, *, into: Answer | None = None, **params: Any
    ) -> Answer:
        """Have a prompt completed, as a stream unless ``params`` say otherwise."""
        body = {"model": model, "prompt": prompt, "stream": True, "ignore_eos": True, **params}
        return await self.post("/v1/completions", body, into)

    async def _ask(self, request: bytes, answer: Answer) -> Answer:
        """Fill ``answer``; a connection that breaks is one that is not whole. Cancel to leave."""
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await asyncio.open_connection(HERE, self._port)
            writer.write(request)
            response = _Response(answer)
            while not answer.whole:
                async with asyncio.timeout(PATIENCE_S):
                    data = await reader.read(65_536)
                if not data:
                    break
                response.feed(data)
        except OSError:  # it was reset or refused, or is silent: TimeoutError is one, too
            pass
        finally:
            answer.ended_at = time.monotonic()
            if writer is not None:
                writer.close()
        return answer


class _Response:
    """Takes a response apart as it comes in."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._raw = b""  # not understood yet
        self._body = b""  # likewise, without the lengths of chunks
        self._length: int | None = None  # of the body; None: it comes in chunks

    def feed(self, data: bytes) -> None:
        """Take more of it."""
        answer = self._answer
        self._raw += data
        if not answer.status and not self._read_head():
            return
        if self._length is None:
            ended = self._take_chunks()
        else:
            self._body, self._raw = self._body + self._raw, b""
            ended = len(self._body) >= self._length
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            *events, self._body = self._body.split(b"\n\n")
            for event in events:
                self._read_event(event)
        elif ended:
            self._read_document()
        answer.whole = ended

    def _read_head(self) -> bool:
        head, gap, rest = self._raw.partition(b"\r\n\r\n")
        if not gap:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        self._answer.headers = {name.lower(): value.strip() for name, value in pairs}
        self._answer.status = int(first.split()[1])
        length = self._answer.headers.get("content-length")
        self._length = int(length) if length is not None else None
        self._raw = rest
        return True

    def _take_chunks(self) -> bool:
        """Move whole chunks into the body; return whether the last one has come."""
        while (line_end := self._raw.find(b"\r\n")) >= 0:
            start, size = line_end + 2, int(self._raw[:line_end], 16)
            if len(self._raw) < start + size + 2:
                return False
            self._body += self._raw[start : start + size]
            self._raw = self._raw[start + size + 2 :]
            if size == 0:
                return True
        return False

    def _read_event(self, event: bytes) -> None:
        for line in event.split(b"\n"):
            if line == b"data: [DONE]":
                self._answer.done = True
            elif line.startswith(b"data: "):
                self._read_piece(json.loads(line[6:]))

    def _read_piece(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self._answer.error = str(chunk["error"]["code"])
        elif chunk["choices"] and (text := _text_of(chunk["choices"][0])):
            self._answer.texts.append(text)

    def _read_document(self) -> None:
        answer = self._answer
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        answer.document = json.loads(self._body) if is_json else self._body
        if answer.status != 200:
            answer.error = str(answer.document["error"]["code"])
            return
        answer.done = True
        if is_json and (choices := answer.document.get("choices")):
            answer.texts.append(_text_of(choices[0]))


def _text_of(choice: dict[str, Any]) -> str:
    """Return the text in a choice of either API, whole or a piece."""
    message = choice.get("delta") or choice.get("message") or {}
    return str(choice.get("text") or message.get("content") or "")


def _request(method: str, path: str, body: bytes) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\n"
        "Host: localhost\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
