"""The real page over an ``/admin/stats`` that a test writes, to show it what rarely happens."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from starlette.requests import Request

from mlm.server.dashboard import FILES, Dashboard

ADMIN_KEY = "the-key-of-the-admin"
COOKIE = "mlm_session=a-cookie"


class StatsServer:
    """A server whose answers a test chooses; it can go away and come back at the same address."""

    def __init__(self) -> None:
        self.stats: dict[str, Any] = full_stats()
        self.installed: list[str] = ["alpha", "beta", "gamma"]
        self.refusals: dict[str, dict[str, str]] = {}  # error object by path of a POST
        self.needs_key = False
        self.delay_s = 0.0
        self.asked: list[tuple[str, str, float]] = []  # method, path, when
        self.posted: list[tuple[str, Any, str | None]] = []  # path, body, X-Mlm
        self.most_at_once = 0  # of questions for figures
        self._at_once = 0
        self._lock = threading.Lock()
        self._pages = asyncio.run(_render_pages())
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Listen, at the address of before."""
        self._server = _Server(("127.0.0.1", self._port), _handler_of(self))
        self._port = self._server.server_port
        serve = {"poll_interval": 0.02}
        threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True).start()

    def stop(self) -> None:
        """Be gone."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def polls(self) -> list[float]:
        """Return when ``/admin/stats`` was asked."""
        return [at for _, path, at in self.asked if path == "/admin/stats"]

    def answer(self, method: str, path: str, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        is_figures = path not in self._pages
        with self._lock:
            self.asked.append((method, path, time.monotonic()))
            self._at_once += is_figures
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.delay_s if path == "/admin/stats" else 0)
            status, headers, body = self._find_answer(method, path, handler)
        finally:
            with self._lock:
                self._at_once -= is_figures
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _find_answer(
        self, method: str, path: str, handler: BaseHTTPRequestHandler
    ) -> tuple[int, dict[str, str], bytes]:
        if path in self._pages:
            return self._pages[path]
        if path == "/admin/session":
            return self._change_session(method, handler)
        if self.needs_key and COOKIE not in (handler.headers["Cookie"] or ""):
            return _document({"error": {"message": "a key is needed"}}, status=401)
        if method == "POST":
            self.posted.append((path, _body_of(handler), handler.headers["X-Mlm"]))
            refusal = self.refusals.get(path)
            return _document({"error": refusal} if refusal else {}, status=409 if refusal else 200)
        if path == "/v1/models":
            return _document({"data": [{"id": model_id} for model_id in self.installed]})
        return _document(self.stats and self.stats | {"needs_key": self.needs_key})

    def _change_session(
        self, method: str, handler: BaseHTTPRequestHandler
    ) -> tuple[int, dict[str, str], bytes]:
        if method == "POST" and _body_of(handler) != {"key": ADMIN_KEY}:
            return _document({"error": {"message": "that is no key of an admin"}}, status=401)
        age = 0 if method == "DELETE" else 3600
        cookie = f"{COOKIE}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age}"
        return 204, {"Set-Cookie": cookie}, b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the browser may leave when it likes."""


@contextmanager
def serving_stats() -> Iterator[StatsServer]:
    """Run a `StatsServer` until the block ends."""
    server = StatsServer()
    try:
        yield server
    finally:
        server.stop()


def full_stats() -> dict[str, Any]:
    """Return a document in which every figure is known."""
    spread = {"count": 12, "avg": 50.0, "min": 1.0, "max": 2500.0, "p50": 42.0, "p95": 180.0}
    return {
        "schema": "mlm.stats/1",
        "mlm_version": "0.1.0",
        "since": time.time() - 7500,
        "system": {
            "pid": 4711,
            "uptime_s": 7500.0,
            "rss_bytes": 150 * 1024**2,
            "cpu_percent": 12.5,
            "fds": 42,
            "threads": 12,
            "host": {
                "cpu_percent": 37.0,
                "cores": 16,
                "memory_total": 64 * 1024**3,
                "memory_available": 48 * 1024**3,
            },
            "gpus": [
                {
                    "name": "NVIDIA GeForce RTX 4090",
                    "utilisation_percent": 87,
                    "memory_used": 18 * 1024**3,
                    "memory_total": 24 * 1024**3,
                    "power_w": 312.4,
                    "temperature_c": 64,
                }
            ],
        },
        "models": [
            {
                "model": "alpha",
                "requests": 1234,
                "prompt_tokens": 200_000,
                "completion_tokens": 45_678,
                "cached_tokens": 150_000,
                "ttft_ms": spread | {"p99": 950.0},
                "itl_ms": spread | {"p50": 6.5, "p95": 9.25, "p99": 31.0},
                "e2e_ms": spread | {"p50": 1250.0, "p95": 12_500.0, "p99": 61_000.0},
                "success_rate": 0.995,
            }
        ],
        "response_cache": {
            "entries": 35,
            "bytes": 5 * 1024**2,
            "hits": 30,
            "misses": 60,
            "shared": 10,
            "hit_rate": 0.4,
        },
        "resident": [full_resident("alpha")],
        "recent": [full_request("alpha", number) for number in range(3)],
    }


def full_resident(model: str, **changed: Any) -> dict[str, Any]:
    """Return a model in memory, as the server describes it."""
    return {
        "model": model,
        "state": "ready",
        "progress": 1.0,
        "active": 3,
        "waiting": 2,
        "memory_bytes": 5 * 1024**3,
        "config": {"n_parallel": 8},
        "loads": 1,
        "crashes": 0,
        "trouble": None,
        "pinned": False,
        "ttl_s": 600.0,
        "idle_s": None,
        "work": {"step_s": 10.0, "idle_s": 20.0, "decode_tokens": 500, "prefill_tokens": 900},
        **changed,
    }


def full_request(model: str, number: int, **changed: Any) -> dict[str, Any]:
    """Return a request that has ended, as the server lists it."""
    return {
        "at": time.time() - number,
        "request_id": f"req-{number:04}",
        "model": model,
        "endpoint": "chat",
        "status": 200,
        "error": None,
        "cache": "miss",
        "prompt_tokens": 120,
        "completion_tokens": 64,
        "cached_tokens": 80,
        "ttft_ms": 42.0,
        "e2e_ms": 1234.0,
        **changed,
    }


async def _render_pages() -> dict[str, tuple[int, dict[str, str], bytes]]:
    dashboard, pages = Dashboard(), {}
    for path in FILES:
        response = await dashboard.page(Request({"type": "http", "path": path, "headers": []}))
        headers = {n: v for n, v in response.headers.items() if n != "content-length"}
        pages[path] = (response.status_code, headers, bytes(response.body))
    return pages


def _handler_of(server: StatsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self.command, self.path, self)

        do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def _body_of(handler: BaseHTTPRequestHandler) -> Any:
    return json.loads(handler.rfile.read(int(handler.headers["Content-Length"] or 0)))


def _document(document: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()
