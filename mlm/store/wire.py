"""One HTTP GET, its bytes as they come: no redirects, no retries, nothing kept in memory.

CPU seconds to receive 400 MB over loopback on a 2-core machine: `http.client`, read into a buffer
of ours, 0.09-0.11; with `read1` 0.10-0.23; httpx2 0.56-0.77.
"""

import contextlib
import functools
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import SplitResult, urlsplit

from mlm.errors import NetworkError
from mlm.store.patience import PatientResponse
from mlm.store.proxy import find_proxy, proxy_credentials
from mlm.store.retry import Headers

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_HTTP = (http.client.BadStatusLine, http.client.UnknownProtocol)
Route = tuple[tuple[str, str, int], str | None]  # origin and proxy


class Interrupted(NetworkError):
    """The network or the server failed in a way that a later attempt may not.

    ``wait_s`` is how long the server asked to be left alone, None if it did not.
    """

    def __init__(
        self, message: str, *, remedy: str | None = None, wait_s: float | None = None
    ) -> None:
        super().__init__(message, remedy=remedy or "try again; what has arrived is kept")
        self.wait_s = wait_s


class Unreachable(Interrupted):
    """No connection came about, or no answer over it."""

    code = "unreachable"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for what, in seconds. A slow but steady server is never given up."""

    connect_s: float = 10
    first_byte_s: float = 30
    stall_s: float = 30
    trickle_s: float = 60  # a window with less than `TRICKLE_BYTES_PER_S` counts as a stall
    backoff_s: float = 0.5  # before the first retry

    def scaled(self, factor: float) -> "Timeouts":
        """Return the same proportions, ``factor`` times as long."""
        return Timeouts(*(getattr(self, field.name) * factor for field in fields(self)))


TRICKLE_BYTES_PER_S = 1024


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: what must be equal for a token to be sent along."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def host_of(url: str) -> str:
    """Return ``url`` as far as it may be shown: no path, no query, no credentials."""
    scheme, host, port = origin(url)
    shown = f"[{host}]" if ":" in host else host
    return shown if port == _DEFAULT_PORTS.get(scheme) else f"{shown}:{port}"


def is_loopback(url: str) -> bool:
    """Whether ``url`` stays on this machine."""
    host = origin(url)[1]
    return host in ("localhost", "::1") or host.startswith("127.")


def may_redirect(endpoint: str, target: str) -> bool:
    """Whether a server behind ``endpoint`` may send us to ``target``.

    To https anywhere; to plain http only when the endpoint itself is plain, and then only to its
    own host, or from loopback to loopback: a redirect must not reach into a private network.
    """
    try:
        scheme, host, _ = origin(target)
    except ValueError:  # a port that is no number
        return False
    if scheme == "https":
        return bool(host)
    if scheme != "http" or origin(endpoint)[0] != "http":
        return False
    return host == origin(endpoint)[1] or (is_loopback(endpoint) and is_loopback(target))


class Reply:
    """A response whose body is read piece by piece. Close it, or use it in a ``with``."""

    def __init__(self, url: str, line: "Line", response: PatientResponse, stall_s: float) -> None:
        self.url = url
        self.status = response.status
        self.headers: Headers = response.headers
        self._line = line
        self._response = response
        self._stall_s = stall_s

    def read(self, limit: int) -> bytes:
        """Return what has arrived, at most ``limit`` bytes; nothing at the end of the body.

        Raises:
            Interrupted: the connection broke or stalled.
        """
        with self._explaining():
            return self._response.read1(limit)

    def read_into(self, view: memoryview) -> int:
        """Put what has arrived into ``view`` and return how many bytes; 0 at the end of the body.

        Raises:
            Interrupted: the connection broke or stalled.
        """
        response = self._response
        if response.chunked or response.length is None or response.fp is None:
            piece = self.read(len(view))
            view[: len(piece)] = piece
            return len(piece)
        with self._explaining():
            count: int = response.fp.readinto1(view[: response.length])
        response.length -= count
        return count

    def abort(self) -> None:
        """End the connection now: a read that waits in another thread fails."""
        with contextlib.suppress(OSError):
            self._line.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back: to be used again if the whole body was read."""
        at_end = self._response.isclosed() or self._response.length == 0
        self._response.close()
        if at_end and not self._response.will_close:
            self._line.release()
        else:
            self._line.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        host = host_of(self.url)
        self._response.wait_at_most(self._stall_s)
        try:
            yield
        except TimeoutError as error:
            raise Interrupted(f"{host} stopped sending") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Interrupted(
                f"the connection to {host} broke: {describe_failure(error)}"
            ) from error


@dataclass(frozen=True, slots=True)
class Line:
    """An open connection, and what to call when it is free for another request."""

    connection: http.client.HTTPConnection
    sock: socket.socket
    release: Callable[[], None]


class Wire:
    """Sends GET requests, directly or through the proxies of the environment.

    Connections are kept and used again until `close`. Several threads may use it.
    """

    def __init__(self, timeouts: Timeouts, *, use_proxies: bool = True) -> None:
        self.timeouts = timeouts
        self.use_proxies = use_proxies
        self._idle: dict[Route, list[http.client.HTTPConnection]] = {}
        self._keeping = threading.Lock()

    def get(self, url: str, headers: dict[str, str]) -> Reply:
        """Send one request and return the answer, whatever its status; redirects are answers too.

        Raises:
            Interrupted: nothing came back, or nothing that is HTTP.
        """
        parts = urlsplit(url)
        proxy = find_proxy(url) if self.use_proxies else None
        if proxy and parts.scheme == "http":  # a tunnel has shown them already
            headers = headers | proxy_credentials(proxy)
        route, target = (origin(url), proxy), _target(parts, proxy)
        try:
            if kept := self._idle.get(route):
                with contextlib.suppress(IndexError, ConnectionError, http.client.HTTPException):
                    return self._ask(kept.pop(), route, url, target, headers)
            connection = _connect_to(parts, proxy, self.timeouts.connect_s)
            connection.response_class = PatientResponse
            return self._ask(connection, route, url, target, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise unreachable(url, proxy, describe_failure(error)) from error

    def close(self) -> None:
        """Close the connections that are kept; the wire can be used again."""
        with self._keeping:
            idle, self._idle = self._idle, {}
        for connection in (connection for kept in idle.values() for connection in kept):
            connection.close()

    def __del__(self) -> None:
        self.close()

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        route: "Route",
        url: str,
        target: str,
        headers: dict[str, str],
    ) -> Reply:
        try:
            if connection.sock is None:
                connection.connect()
            sock: socket.socket = connection.sock
            sock.settimeout(self.timeouts.first_byte_s)
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            assert isinstance(response, PatientResponse)
        except BaseException:
            connection.close()
            raise
        release = functools.partial(self._keep, route, connection)
        return Reply(url, Line(connection, sock, release), response, self.timeouts.stall_s)

    def _keep(self, route: Route, connection: http.client.HTTPConnection) -> None:
        with self._keeping:  # `close` misses none: one that comes later is closed with the wire
            self._idle.setdefault(route, []).append(connection)


def unreachable(url: str, proxy: str | None, why: str) -> Unreachable:
    """Return the error for a server that did not answer, naming the proxy when there is one."""
    if proxy:
        return Unreachable(
            f"cannot reach {host_of(url)} through the proxy {host_of(proxy)}: {why}",
            remedy="check HTTPS_PROXY and HTTP_PROXY, or name the host in NO_PROXY",
        )
    return Unreachable(
        f"cannot reach {host_of(url)}: {why}",
        remedy="check the network and HF_ENDPOINT: mlm doctor",
    )


def _connect_to(
    parts: SplitResult, proxy: str | None, timeout_s: float
) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if proxy is None:
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                host, parts.port, timeout=timeout_s, context=trusted_tls()
            )
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    scheme, proxy_host, proxy_port = origin(proxy)
    if scheme != "http":
        raise NetworkError(
            f"the proxy {host_of(proxy)} is of a kind that mlm does not speak: {scheme}",
            remedy="use an http:// proxy, or unset the proxy variable",
        )
    if parts.scheme == "http":
        return http.client.HTTPConnection(proxy_host, proxy_port, timeout=timeout_s)
    tunnel = http.client.HTTPSConnection(
        proxy_host, proxy_port, timeout=timeout_s, context=trusted_tls()
    )
    tunnel.set_tunnel(host, parts.port or 443, headers=proxy_credentials(proxy))
    return tunnel


def _target(parts: SplitResult, proxy: str | None) -> str:
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return f"http://{parts.netloc}{path}" if proxy and parts.scheme == "http" else path


@functools.cache
def trusted_tls() -> ssl.SSLContext:
    """Return the same trust in certificates that huggingface_hub has for its own calls."""
    import httpx2  # comes with huggingface_hub; 90 ms that plain http does not need

    return httpx2.create_ssl_context()


def describe_failure(error: BaseException) -> str:
    """Return in a few words why a connection failed."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); behind a company's proxy, "
            "name its certificates in SSL_CERT_FILE"
        )
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, _NO_HTTP) and not isinstance(error, ConnectionError):
        return "what it answers is not HTTP"  # the error's own words are the server's
    return str(error) or type(error).__name__
