"""A real server over fake workers, in a process of its own, for tests to talk to over HTTP."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fakes.processes import end_server

FAKE_SERVER = (sys.executable, str(Path(__file__).with_name("fake_gateway.py")))


class FakeServer:
    """A running server, as a test sees it."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process, self.home = process, home
        self.events: list[dict[str, Any]] = []
        self._heard = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.url = self.wait_for("Listening")["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def wait_for(self, kind: str, **expected: Any) -> dict[str, Any]:
        """Return the first event of a kind, waiting for it."""

        def found() -> dict[str, Any] | None:
            for event in self.events:
                if event["kind"] == kind and expected.items() <= event.items():
                    return event
            return None

        with self._heard:
            assert self._heard.wait_for(lambda: found() or "end" in self._kinds(), timeout=20)
            event = found()
            assert event is not None, f"no {kind}: {self.events} {self.log}"
            return event

    @property
    def log(self) -> str:
        """What the process wrote to stderr."""
        return (self.home / "stderr").read_text(encoding="utf-8")

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> "Reply":
        """Send one request on a connection of its own and return the whole response."""
        return ask(self.port, method, path, body, headers)

    def chat(self, content: str, model: str = "alpha", **params: Any) -> "Reply":
        """Ask one question."""
        messages = [{"role": "user", "content": content}]
        return self.ask(
            "POST", "/v1/chat/completions", {"model": model, "messages": messages, **params}
        )

    def open_stream(self, content: str, model: str = "alpha", **params: Any) -> "Stream":
        """Ask one question and return the stream, whose head has been read."""
        messages = [{"role": "user", "content": content}]
        body = {"model": model, "messages": messages, "stream": True, **params}
        return Stream(self.port, json.dumps(body).encode())

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes back until the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            received = b""
            with suppress(ConnectionResetError):  # it hung up without reading everything
                while block := connection.recv(65536):
                    received += block
            return received

    def stats(self) -> dict[str, Any]:
        """Return ``/admin/stats``."""
        return dict(self.ask("GET", "/admin/stats").json)

    def resident(self, model: str = "alpha") -> dict[str, Any]:
        """Return the state of a model in the pool."""
        return next(r for r in self.stats()["resident"] if r["model"] == model)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(timeout=30)
        self._listener.join(timeout=10)
        return code

    def _kinds(self) -> set[str]:
        return {event["kind"] for event in self.events}

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.events.append(json.loads(line))
                self._heard.notify_all()
        with self._heard:
            self.events.append({"kind": "end"})
            self._heard.notify_all()


class Reply:
    """A response, whole."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        """The document."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return dict(self.json["error"])

    @property
    def text(self) -> str:
        """The answer of a chat, streamed or not."""
        if self.headers["Content-Type"].startswith("text/event-stream"):
            chunks = [chunk for chunk in self.events if chunk.get("choices")]
            return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """The documents of a stream, without ``[DONE]``."""
        return [json.loads(d) for d in data_of(self.body) if d != "[DONE]"]

    @property
    def done(self) -> bool:
        """Whether the stream ended with ``[DONE]``."""
        return data_of(self.body)[-1:] == ["[DONE]"]


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Reply:
    """Send one request to a server on this machine and return the whole response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if content is not None else {}
        connection.request(method, path, content, kind | (headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


class Stream:
    """A streamed answer that is still coming."""

    def __init__(self, port: int, body: bytes) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", "/v1/chat/completions", body, headers)
        self.response = self.connection.getresponse()
        self.body = b""

    def read_until(self, text: str) -> None:
        """Read until ``text`` has come."""
        while text.encode() not in self.body:
            block = self.response.read1(65536)
            assert block, f"the stream ended: {self.body!r}"
            self.body += block

    def rest(self) -> Reply:
        """Read to the end."""
        self.body += self.response.read()
        self.connection.close()
        return Reply(self.response.status, self.response.headers, self.body)

    def leave(self) -> None:
        """Hang up."""
        self.response.close()
        self.connection.close()


def data_of(body: bytes) -> list[str]:
    """Return the ``data`` of each event."""
    lines = body.decode().split("\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


@contextmanager
def serving(
    folder: Path, models: dict[str, dict[str, Any]] | None = None, **options: Any
) -> Iterator[FakeServer]:
    """Run a server until the block ends. ``models`` maps ids to what the fake worker should do.

    A model's ``size``, ``available`` and ``config`` are for the planner; ``installed`` ones are
    not on the command line, and one that ``sees`` has a projector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = {"models": models or {"alpha": {}}, "folder": str(folder), **options}
    with (folder / "stderr").open("a") as stderr:
        process = subprocess.Popen(
            [*FAKE_SERVER, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield FakeServer(process, folder)
    finally:
        end_server(process)
