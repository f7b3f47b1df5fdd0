"""The hub inside mlm: serves the demo model over real HTTP on loopback.

It speaks the part of the Hugging Face protocol that a client needs to find, fetch and resume one
file, so that ``mlm download mlm-demo`` takes the same path as any other download, also offline.
"""

import hashlib
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

DEMO_REPO_ID = "mlm/mlm-demo-GGUF"
DEMO_FILENAME = "mlm-demo.Q8_0.gguf"
DEMO_FILE = Path(__file__).with_name("mlm-demo.gguf")

_API = re.compile(rf"/api/models/{DEMO_REPO_ID}(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?")
_RESOLVE = re.compile(rf"/{DEMO_REPO_ID}/resolve/(?P<revision>[^/]+)/(?P<filename>.+)")
_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    status: HTTPStatus
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class BundledRepo:
    """A repository with one file and one commit, and how it answers each request."""

    def __init__(self, path: Path = DEMO_FILE) -> None:
        self._path = path

    @cached_property
    def content(self) -> bytes:
        """The bytes of the model file."""
        return self._path.read_bytes()

    @cached_property
    def sha256(self) -> str:
        """The digest of the model file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def commit(self) -> str:
        """Stands for a git commit: it changes exactly when the file changes."""
        return self.sha256[:40]

    def answer(self, target: str, headers: Mapping[str, str]) -> Answer:
        """Answer a GET (or HEAD) of ``target``, a path with or without query."""
        path = unquote(urlsplit(target).path)
        if match := _API.fullmatch(path):
            return self._describe(match["what"], match["revision"])
        if match := _RESOLVE.fullmatch(path):
            return self._resolve(match["revision"], match["filename"], headers)
        return _refuse("RepoNotFound", "Repository not found")

    def _describe(self, what: str | None, revision: str | None) -> Answer:
        if revision not in (None, "main", self.commit):
            return _refuse("RevisionNotFound", f"Invalid rev id: {revision}")
        return _json(self._tree() if what == "tree" else self._info())

    def _info(self) -> dict[str, object]:
        lfs = {"sha256": self.sha256, "size": len(self.content), "pointerSize": 132}
        sibling = {
            "rfilename": DEMO_FILENAME,
            "size": len(self.content),
            "blobId": self.commit,
            "lfs": lfs,
        }
        return {
            "id": DEMO_REPO_ID,
            "modelId": DEMO_REPO_ID,
            "sha": self.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "tags": ["gguf", "license:apache-2.0"],
            "downloads": 0,
            "likes": 0,
            "siblings": [sibling],
        }

    def _tree(self) -> list[dict[str, object]]:
        size = len(self.content)
        lfs = {"oid": self.sha256, "size": size, "pointerSize": 132}
        return [
            {"type": "file", "path": DEMO_FILENAME, "size": size, "oid": self.commit, "lfs": lfs}
        ]

    def _resolve(self, revision: str, filename: str, headers: Mapping[str, str]) -> Answer:
        if revision not in ("main", self.commit):
            return _refuse("RevisionNotFound", f"Invalid rev id: {revision}")
        about = {"X-Repo-Commit": self.commit}
        if filename != DEMO_FILENAME:
            return _refuse("EntryNotFound", "Entry not found", about)
        etag = f'"{self.sha256}"'
        about |= {
            "ETag": etag,
            "X-Linked-Etag": etag,
            "X-Linked-Size": str(len(self.content)),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        wanted = headers.get("Range") if headers.get("If-Range", etag) == etag else None
        return self._bytes(wanted, about)

    def _bytes(self, wanted: str | None, about: dict[str, str]) -> Answer:
        size = len(self.content)
        match = _RANGE.fullmatch(wanted) if wanted else None
        if match is None or not (match["first"] or match["last"]):
            return Answer(HTTPStatus.OK, about, self.content)
        if match["first"]:
            first, last = int(match["first"]), min(int(match["last"] or size), size - 1)
        else:  # the last so many bytes
            first, last = max(size - int(match["last"]), 0), size - 1
        if first > last:
            about["Content-Range"] = f"bytes */{size}"
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, about)
        about["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Answer(HTTPStatus.PARTIAL_CONTENT, about, self.content[first : last + 1])


def _json(document: object) -> Answer:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(HTTPStatus.OK, headers, json.dumps(document).encode())


def _refuse(code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    about = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
    return Answer(HTTPStatus.NOT_FOUND, about, json.dumps({"error": message}).encode())


class _Handler(BaseHTTPRequestHandler):
    """Puts answers on the wire."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        answer = self.server.repo.answer(self.path, self.headers)  # type: ignore[arg-type]
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the command."""


class _Server(ThreadingHTTPServer):
    """A thread per connection; closing ends them all, also those that a client keeps open."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, repo: BundledRepo) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo = repo
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away is not an error."""

    def server_close(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its client was faster
        super().server_close()


@contextmanager
def serve_bundled_hub() -> Iterator[str]:
    """Serve the demo model while the block runs; yields the endpoint, to be used as HF_ENDPOINT."""
    server = _Server(BundledRepo())
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
