"""The two servers: a hub that answers questions and redirects, a CDN that sends bytes."""

import json
import re
import socket
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from fakes.hub.fault import Fault, Where
from fakes.hub.repo import File, Repo
from fakes.hub.sending import Answer, Dropped, send

_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+))?(/.*)?")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Request:
    """One request as it arrived, and the status it got (0: none)."""

    where: Where
    method: str
    path: str  # with query
    headers: dict[str, str]  # names in lower case
    status: int

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class FakeHub:
    """A hub at ``endpoint``. Use it in a ``with``; it logs every request in ``requests``.

    ``prefix`` is a path below which a mirror lives.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.link_uses: int | None = None  # a signed link works so often, then it has expired
        self._links: dict[str, tuple[File, int]] = {}
        self._lock = Lock()
        self._closing = Event()
        self._hub = _Server(self, is_cdn=False)
        self._cdn = _Server(self, is_cdn=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._hub.server_port}{self.prefix}"

    @property
    def cdn(self) -> str:
        return f"http://localhost:{self._cdn.server_port}"

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
        self._closing.set()
        for server in (self._hub, self._cdn):
            server.stop()

    def handle(self, handler: BaseHTTPRequestHandler, *, is_cdn: bool) -> None:
        """Answer one request."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        path = urlsplit(handler.path).path.removeprefix("" if is_cdn else self.prefix)
        where: Where = "cdn" if is_cdn else "api" if path.startswith("/api/") else "resolve"
        with self._lock:
            fault = next((f for f in self.faults if f.strikes(where, handler.path)), None)
        answer = self._answer(where, handler, path, headers, fault or Fault())
        request = Request(where, handler.command, handler.path, headers, answer.status)
        self.requests.append(request)
        try:
            send(handler, answer, fault, self._closing.wait)
        except Dropped:
            handler.close_connection = True

    def _answer(
        self,
        where: Where,
        handler: BaseHTTPRequestHandler,
        path: str,
        headers: dict[str, str],
        fault: Fault,
    ) -> Answer:
        if fault.status is not None:
            return Answer(fault.status, {}, fault.body or b"")
        if where == "cdn":
            return self._send_bytes(handler.path, headers, fault)
        answer = self._describe(handler.path, path) if where == "api" else None
        match = _API.fullmatch(path) if where == "api" else _RESOLVE.fullmatch(path)
        repo = self.repos.get(match[1]) if match else None
        if repo and (refused := _check_token(repo, where, headers)):
            return refused
        if answer is None:
            answer = self._resolve(repo, match, headers, fault)
        if fault.body is not None:
            answer.body = fault.body
        return answer

    def _describe(self, target: str, path: str) -> Answer:
        match = _API.fullmatch(path)
        repo = self.repos.get(match[1]) if match else None
        if match is None or repo is None:
            return _refuse(404, "RepoNotFound", "Repository not found")
        commit = repo.find(unquote(match[3] or "main"))
        if commit is None:
            return _refuse(404, "RevisionNotFound", f"Invalid rev id: {match[3]}")
        if match[2] == "tree":
            return _json([file.tree_entry() for file in repo.commits[commit].values()])
        with_blobs = parse_qs(urlsplit(target).query).get("blobs", [""])[0].lower() == "true"
        return _json(repo.describe(commit, with_blobs=with_blobs))

    def _resolve(
        self,
        repo: Repo | None,
        match: re.Match[str] | None,
        headers: dict[str, str],
        fault: Fault,
    ) -> Answer:
        if match is None or repo is None:
            return _refuse(404, "RepoNotFound", "Repository not found")
        commit = repo.find(unquote(match[2]))
        if commit is None:
            return _refuse(404, "RevisionNotFound", "Invalid rev id")
        file = repo.commits[commit].get(unquote(match[3]))
        about = {"X-Repo-Commit": commit}
        if file is None:
            return _refuse(404, "EntryNotFound", "Entry not found", about)
        if not file.lfs:
            return _whole_or_part(file, headers, fault, about)
        about |= {
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(len(file.content)),
            "ETag": f'"{file.git_oid}"',
            "Accept-Ranges": "bytes",
            "Location": f"{self.cdn}{self._sign(file)}",
        }
        return Answer(302, about)

    def _sign(self, file: File) -> str:
        with self._lock:
            link = f"/{file.sha256}?Signature={len(self._links)}~secret"
            self._links[link] = (file, 0)
        return link

    def _send_bytes(self, target: str, headers: dict[str, str], fault: Fault) -> Answer:
        with self._lock:
            file, uses = self._links.get(target, (None, 0))
            if file is None or (self.link_uses is not None and uses >= self.link_uses):
                return Answer(403, {"Content-Type": "application/xml"}, b"<Error>expired</Error>")
            self._links[target] = (file, uses + 1)
        return _whole_or_part(file, headers, fault, {})


def _check_token(repo: Repo, where: Where, headers: dict[str, str]) -> Answer | None:
    """Return the refusal for who may not see the repository. A gated one may still be described."""
    if repo.token is None or headers.get("authorization") == f"Bearer {repo.token}":
        return None
    if "authorization" in headers:
        return _refuse(401, "", "Invalid credentials in Authorization header")
    if repo.gated:
        return _refuse(401, "GatedRepo", "Access is restricted") if where == "resolve" else None
    return _refuse(401, "RepoNotFound", "Repository not found")


def _whole_or_part(
    file: File, headers: dict[str, str], fault: Fault, about: dict[str, str]
) -> Answer:
    content = fault.corrupt(file.content)
    etag = fault.headers.get("ETag", f'"{file.etag}"')
    about = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"} | about
    about["ETag"] = etag
    match = _RANGE.fullmatch(headers.get("range", ""))
    unchanged = fault.ignore_if_range or headers.get("if-range", etag) == etag
    if match is None or fault.ignore_range or not unchanged:
        if not fault.partial_for_whole:
            return Answer(200, about, content)
        match = _RANGE.fullmatch("bytes=0-")
        assert match
    first, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
    if first >= len(content):
        return Answer(416, about | {"Content-Range": f"bytes */{len(content)}"})
    about["Content-Range"] = fault.content_range or f"bytes {first}-{last}/{len(content)}"
    return Answer(206, about, content[first : last + 1], first)


def _json(document: object) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    about = {"X-Error-Message": message} | (headers or {})
    if code:
        about["X-Error-Code"] = code
    return Answer(status, about, json.dumps({"error": message}).encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        self.server.fake.handle(self, is_cdn=self.server.is_cdn)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it: tests look at `FakeHub.requests`."""


class _Server(ThreadingHTTPServer):
    """Ends all its connections when it stops, also those a client keeps open."""

    daemon_threads = False

    def __init__(self, fake: FakeHub, *, is_cdn: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake, self.is_cdn = fake, is_cdn
        self._connections: set[socket.socket] = set()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.002})

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its client was faster
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what many tests are about."""
