"""An OpenAI-compatible server that does what a test tells it, on a real socket."""

import json
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, cycle, repeat
from pathlib import Path
from typing import Any

from mlm.pictures import from_data_uri
from mlm.server.registry import Registry, RunningServer, own_start_time

Reply = Callable[["_Connection"], None]


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class OpenAIServer:
    """Answers every completion as last told; ``says("Hello", " there")`` to begin with."""

    url: str = ""
    models: list[str] = field(default_factory=lambda: ["tiny"])
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    hesitates: threading.Event = field(default_factory=threading.Event)
    client_left: threading.Event = field(default_factory=threading.Event)
    cache: str = "bypass"
    is_healthy: bool = True
    n_ctx_bytes: int = 1_000_000  # longer questions do not fit the context
    n_ctx_slot: int | None = None  # so many tokens, as it tells and counts them: words; None = not
    tokenized: int = 0  # so often it was asked to count
    picture_tokens: int | None = None  # of each picture; None = it counts none
    blind: list[str] | None = None  # models that take no pictures; None = it says so of none
    _reply: Reply | None = None

    @property
    def told(self) -> Reply:
        """What it does with the next question."""
        if self._reply is None:
            self.says("Hello", " there")
        assert self._reply is not None
        return self._reply

    def says(self, *texts: str, reason: str = "stop", **truth: object) -> None:
        """Answer with these deltas, usage, and the object ``mlm`` made of ``truth``."""
        self._reply = lambda connection: connection.stream(
            *_answer(texts, reason, truth, self._prompt_tokens)
        )

    def thinks(self, *thoughts: str, then: str) -> None:
        """Answer with these pieces of thinking, and after them with a text."""
        deltas = [{"reasoning_content": thought} for thought in thoughts] + [{"content": then}]
        chunks = [_chunk({"choices": [{"delta": delta}]}) for delta in deltas]
        self._reply = lambda connection: connection.stream(*chunks, *_answer((), "stop", {}))

    def sends(self, *pieces: bytes) -> None:
        """Answer with a stream of exactly these bytes, one write per piece."""
        self._reply = lambda connection: connection.stream(*pieces)

    def does(self, reply: Reply) -> None:
        """Answer with whatever ``reply`` does to the connection."""
        self._reply = reply

    def breaks_off_after(self, *texts: str) -> None:
        """Answer with these deltas and hang up in the middle of the body."""
        pieces = [_chunk({"choices": [{"delta": {"content": text}}]}) for text in texts]
        self._reply = lambda connection: connection.stream(*pieces, finish=False)

    def fails_after(self, good: int, *texts: str) -> None:
        """Answer so many requests well and break off all later ones."""
        self.breaks_off_after(*texts)
        self.takes_turns(*(["well"] * good), "as told", again=False)

    def takes_turns(self, *turns: str, again: bool = True) -> None:
        """Answer the requests in these turns: ``well``, or ``as told`` last before this.

        After the last turn comes the first one again, or only that one.
        """
        told = self.told
        coming = cycle(turns) if again else chain(turns, repeat(turns[-1]))

        def reply(connection: "_Connection") -> None:
            if next(coming) == "well":
                connection.stream(*_answer(("fine",), "stop", {}))
            else:
                told(connection)

        self._reply = reply

    def hesitates_after(self, *texts: str) -> None:
        """Answer with these deltas, then say nothing until the client leaves, as it may before."""
        pieces = [_chunk({"choices": [{"delta": {"content": text}}]}) for text in texts]

        def reply(connection: "_Connection") -> None:
            with suppress(OSError):
                connection.stream(*pieces, finish=False)
                self.hesitates.set()
                select.select([connection.connection], [], [], 30)
            self.client_left.set()

        self._reply = reply

    def refuses(self, status: int, body: object, **headers: str) -> None:
        """Answer with this status and JSON body."""
        self._reply = lambda connection: connection.document(body, status, headers)

    def announce(self, home: Path, folder: Path = Path("/models")) -> None:
        """Let commands find this server as a running ``mlm serve`` of models in ``folder``."""
        server = RunningServer(
            pid=os.getpid(),
            started_at=own_start_time(),
            url=self.url,
            models={model: f"{folder}/{model}.gguf" for model in self.models},
            needs_key=False,
            private=False,
        )
        Registry(home / "run").announce(server)

    @property
    def _prompt_tokens(self) -> int:
        return 40 if self.n_ctx_slot is None else self.count(self.asked[-1].body)

    def count(self, body: Any) -> int:
        """Return the tokens of a text, or of messages with their pictures."""
        messages = body.get("messages", ())
        n_pictures = sum(len(pictures_of(said["content"])) for said in messages)
        return count_tokens(body) + n_pictures * (self.picture_tokens or 0)

    def describe(self, model: str) -> dict[str, object]:
        """Return what it tells of a model."""
        told: dict[str, object] = {"id": model}
        if self.n_ctx_slot:
            told["meta"] = {"n_ctx_slot": self.n_ctx_slot}
        if self.blind is not None:
            told["input_modalities"] = ["text"] if model in self.blind else ["text", "image"]
        return told

    def reply(self, connection: "_Connection") -> None:
        """Do what was told last."""
        if len(json.dumps(self.asked[-1].body)) > self.n_ctx_bytes:
            error = {"message": "needs 999 tokens", "code": "context_length_exceeded"}
            connection.document({"error": error}, 400)
            return
        self.told(connection)


def count_tokens(body: Any) -> int:
    """Return the tokens of a text, or of messages: words, 3 around each message, 2 in all."""
    if "content" in body:
        return len(body["content"].split())
    return 2 + sum(3 + len(text_of(said["content"]).split()) for said in body["messages"])


def text_of(content: Any) -> str:
    """Return the text of a message, which may hold pictures before it."""
    return content if isinstance(content, str) else str(content[-1]["text"])


def pictures_of(content: Any) -> list[bytes]:
    """Return the pictures of a message; what stands beside them must be one text, the last part."""
    if isinstance(content, str):
        return []
    *pictures, text = content
    assert text["type"] == "text" and all(part["type"] == "image_url" for part in pictures)
    return [from_data_uri(part["image_url"]["url"]) for part in pictures]


def _chunk(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _answer(
    texts: tuple[str, ...], reason: str, truth: dict[str, object], prompt_tokens: int = 40
) -> Iterator[bytes]:
    yield _chunk({"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]})
    for text in texts:
        choice = {"delta": {"content": text}, "text": text, "finish_reason": None}
        yield _chunk({"choices": [choice]})
    yield _chunk({"choices": [{"delta": {}, "finish_reason": reason}]})
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(texts),
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    yield _chunk({"choices": [], "usage": usage, "mlm": truth})
    yield b"data: [DONE]\n\n"


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Listener"

    def setup(self) -> None:
        super().setup()
        self.server.script.connections += 1

    def do_GET(self) -> None:
        script = self.server.script
        script.asked.append(Asked(self.path, dict(self.headers), None))
        if self.path == "/v1/models":
            self.document({"data": [script.describe(model) for model in script.models]})
        else:
            self.document({}, 200 if script.is_healthy else 503)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._tokenize(body)
            return
        self.server.script.asked.append(Asked(self.path, dict(self.headers), body))
        self.server.script.reply(self)

    def _tokenize(self, body: Any) -> None:
        script = self.server.script
        script.tokenized += 1
        has_pictures = any(pictures_of(said["content"]) for said in body.get("messages", ()))
        if script.n_ctx_slot is None:
            self.document({"error": {"message": "no such route"}}, 404)
        elif has_pictures and script.picture_tokens is None:
            self.document({"error": {"message": "only texts are counted"}}, 400)
        else:
            self.document({"tokens": [0] * script.count(body)})

    def document(
        self, body: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, *pieces: bytes, finish: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Mlm-Cache", self.server.script.cache)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if finish:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = not finish

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


class _Listener(ThreadingHTTPServer):
    script: OpenAIServer
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client may hang up at any time; that is what tests are about."""


@contextmanager
def serving_openai() -> Iterator[OpenAIServer]:
    """Run a scripted server on a free port of the loopback interface."""
    with _Listener(("127.0.0.1", 0), _Connection) as listener:
        listener.script = OpenAIServer(url=f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield listener.script
        finally:
            listener.shutdown()
            thread.join()
