"""The two servers: a hub that answers questions and redirects, a CDN that sends bytes."""

import ssl
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Lock
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from fakes.hub.body import InMemory
from fakes.hub.fault import Fault, Where
from fakes.hub.listening import Server
from fakes.hub.repo import File, Repo
from fakes.hub.routes import Routes, hop, misstate, whole_or_part
from fakes.hub.sending import Answer, Dropped, Sender


@dataclass(frozen=True)
class Request:
    """One request as it arrived, and the status it got (0: none)."""

    where: Where
    method: str
    path: str  # with query
    headers: dict[str, str]  # names in lower case
    status: int
    connection: int  # the client's port: equal for requests over the same connection

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class FakeHub:
    """A hub at ``endpoint``. Use it in a ``with``; it logs every request in ``requests``.

    ``prefix`` is a path below which a mirror lives. With ``tls`` both servers speak https.
    """

    def __init__(self, prefix: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.prefix = prefix
        self.scheme = "https" if tls else "http"
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.sent: Counter[Where] = Counter()  # bytes of bodies that left, read or not
        self.most_busy: Counter[Where] = Counter()  # most answers on their way at once
        self.link_uses: int | None = None  # a signed link works so often, then it has expired
        self._links: dict[str, tuple[File, int]] = {}
        self._signed = 0
        self._busy: Counter[Where] = Counter()
        self._lock = Lock()
        self.routes = Routes(self.repos, self._sign)
        self._hub = Server(lambda handler: self._handle(handler, is_cdn=False), tls)
        self._cdn = Server(lambda handler: self._handle(handler, is_cdn=True), tls)

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._hub.server_port}{self.prefix}"

    @property
    def cdn(self) -> str:
        return f"{self.scheme}://localhost:{self._cdn.server_port}"

    def add(self, repo_id: str, *files: File, ref: str = "main") -> str:
        """Commit files to a repository, made if need be; return the commit."""
        return self.repos.setdefault(repo_id, Repo(repo_id)).commit(list(files), ref)

    def breaks(self, **fault: Any) -> Fault:
        """Misbehave from now on; see `Fault`."""
        self.faults.append(Fault(**fault))
        return self.faults[-1]

    def recovers(self) -> None:
        """Be honest again."""
        self.faults.clear()

    def expire_links(self) -> None:
        """Let no link work any more that was signed before."""
        with self._lock:
            self._links.clear()

    def delay_handshakes(self, seconds: float | None) -> None:
        """Take so long over every TLS handshake from now on; None: for ever."""
        self._hub.handshake_s = self._cdn.handshake_s = seconds

    def asked(self, where: Where) -> list[Request]:
        """Return the requests that one part of it has had."""
        return [request for request in self.requests if request.where == where]

    @property
    def requested_ranges(self) -> list[str | None]:
        """The ranges asked of the CDN, None for a whole file."""
        return [request.range for request in self.asked("cdn")]

    def __enter__(self) -> Self:
        for server in (self._hub, self._cdn):
            server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self._hub, self._cdn):
            server.closing.set()
        for server in (self._hub, self._cdn):
            server.stop()

    def _handle(self, handler: BaseHTTPRequestHandler, *, is_cdn: bool) -> None:
        """Answer one request."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        form = handler.rfile.read(int(headers.get("content-length", "0"))).decode()
        where = self._where(handler.path, is_cdn=is_cdn)
        with self._lock:
            self._busy[where] += 1
            busy = self._busy[where]
            self.most_busy[where] = max(self.most_busy[where], busy)
            struck = next((f for f in self.faults if f.strikes(where, handler.path, busy)), None)
        fault = struck or Fault()
        try:
            answer = self._answer(where, handler.path, form, headers, fault)
            port = handler.client_address[1]
            self.requests.append(
                Request(where, handler.command, handler.path, headers, answer.status, port)
            )
            server = self._cdn if is_cdn else self._hub
            Sender(handler, server.closing.wait, lambda n: self._count(where, n)).send(
                answer, fault
            )
        except Dropped:
            handler.close_connection = True
        finally:
            with self._lock:
                self._busy[where] -= 1

    def _where(self, target: str, *, is_cdn: bool) -> Where:
        if is_cdn:
            return "cdn"
        path = urlsplit(target).path.removeprefix(self.prefix)
        return "api" if path.startswith("/api/") else "resolve"

    def _answer(
        self, where: Where, target: str, form: str, headers: dict[str, str], fault: Fault
    ) -> Answer:
        target, redirect = hop(target, fault)
        if redirect:
            return redirect
        if fault.status is not None:
            answer = Answer(fault.status, {}, InMemory(b""))
        elif where == "cdn":
            return self._send_bytes(target, headers, fault)
        else:
            parts = urlsplit(target)
            below = parts._replace(path=parts.path.removeprefix(self.prefix)).geturl()
            if where == "api":
                answer = self.routes.describe(self.endpoint, below, form, headers)
            else:
                answer = self.routes.resolve(self.endpoint, below, headers, fault)
        misstate(answer, fault)
        return answer

    def _sign(self, file: File) -> str:
        with self._lock:
            link = f"/{file.sha256}?Signature={self._signed}~secret"
            self._signed += 1
            self._links[link] = (file, 0)
        return f"{self.cdn}{link}"

    def _send_bytes(self, target: str, headers: dict[str, str], fault: Fault) -> Answer:
        with self._lock:
            file, uses = self._links.get(target, (None, 0))
            if file is None or (self.link_uses is not None and uses >= self.link_uses):
                expired = InMemory(b"<Error>expired</Error>")
                return Answer(403, {"Content-Type": "application/xml"}, expired)
            self._links[target] = (file, uses + 1)
        return whole_or_part(file, headers, fault, {})

    def _count(self, where: Where, sent: int) -> None:
        with self._lock:
            self.sent[where] += sent
