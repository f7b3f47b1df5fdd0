"""One connection to one server."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from socket import SHUT_RDWR, socket
from typing import Any, Literal
from urllib.parse import urlsplit

from mlm.client.answer import Event
from mlm.client.refusal import BROKEN, read_refusal, understanding, unreachable
from mlm.client.response import read_response
from mlm.client.tape import Tape
from mlm.errors import UsageError

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 600.0  # a cold model may need minutes before its first token
BENCH_AGENT = "mlm bench"  # as which a bench asks
DRAIN_TIMEOUT_S = 1.0  # after [DONE] only the end of the body is missing
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_CHAT = "/v1/chat/completions"

Answer = Generator[Event, None, None]
ModelAction = Literal["load", "unload", "pin", "unpin"]


class Client:
    """A connection that is kept alive between requests; each thread needs a client of its own.

    It is direct: proxies are not for servers next door. Every method may raise NetworkError
    (no server, or not one that speaks the protocol), AuthError, NotFoundError (no such model),
    UsageError (the server rejects the request) and EngineError (it fails to serve it).
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        silence_s: float = SILENCE_TIMEOUT_S,
        agent: str = "mlm",
    ) -> None:
        """Prepare a client of ``base_url`` (with or without ``/v1``); nothing is sent yet.

        Raises:
            UsageError: ``base_url`` is not an http(s) address, or ``api_key`` cannot be a key.
        """
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self._api_key = api_key
        self._silence_s = silence_s
        self._connection, self._prefix = _open_address(self.base_url)
        self._socket: socket | None = None  # of the latest request
        self._agent = agent
        self._headers = {"User-Agent": agent}
        if api_key is not None:
            if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
                raise UsageError("the API key is empty or holds characters that no key has")
            self._headers["Authorization"] = f"Bearer {api_key.strip()}"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; that cancels an answer which is still coming. Further calls connect again."""
        self._connection.close()

    def hang_up(self) -> None:
        """End, from another thread, what a call of this client waits for: it fails at once."""
        if (waiting := self._socket) is not None:
            with suppress(OSError):  # it has ended by itself
                waiting.shutdown(SHUT_RDWR)

    def another(self, agent: str | None = None, silence_s: float | None = None) -> "Client":
        """Return a second client of the same server: for another thread, or under a new name."""
        return Client(
            self.base_url,
            self._api_key,
            silence_s=silence_s or self._silence_s,
            agent=agent or self._agent,
        )

    def models(self) -> tuple[str, ...]:
        """Return the ids of the models that the server offers, its first one first."""
        document = self._document("GET", "/v1/models")
        with understanding("a list of models"):
            return tuple(str(model["id"]) for model in document["data"])

    def context_length(self, model: str) -> int | None:
        """Return how many tokens one request of ``model`` may use, its answer included.

        None: the server does not say; one of mlm's says it of models that are loaded.
        """
        document = self._document("GET", "/v1/models")
        with understanding("a list of models"):
            for known in document["data"]:
                length = dict(known.get("meta") or {}).get("n_ctx_slot")
                if known["id"] == model and isinstance(length, int) and length > 0:
                    return length
        return None

    def takes_pictures(self, model: str) -> bool:
        """Return whether ``model`` can be shown pictures; True where the server does not say."""
        document = self._document("GET", "/v1/models")
        with understanding("a list of models"):
            for known in document["data"]:
                if known["id"] == model:
                    return "image" in (known.get("input_modalities") or ["image"])
        return True

    def count_tokens(
        self,
        model: str,
        *,
        text: str | None = None,
        messages: Sequence[Mapping[str, object]] | None = None,
    ) -> int:
        """Return how many tokens ``text`` is by itself, or ``messages`` with their template.

        Special tokens that are spelled out in a text count as they do in a message: as text.
        """
        asked: dict[str, object] = {"model": model}
        asked |= {"messages": list(messages)} if messages is not None else {"content": text}
        document = self._document("POST", "/tokenize", asked | {"parse_special": False})
        with understanding("a list of tokens"):
            return len(document["tokens"])

    def health(self) -> dict[str, Any]:
        """Return what the server says of its health."""
        return self._document("GET", "/health")

    def stats(self) -> dict[str, Any]:
        """Return the ``mlm.stats/1`` document of an mlm server."""
        return self._document("GET", "/admin/stats")

    def clear_cache(self) -> dict[str, Any]:
        """Empty the response cache of an mlm server; return what it says of that."""
        return self._document("POST", "/admin/clear-cache", {})

    def administer(self, action: ModelAction, model: str) -> dict[str, Any]:
        """Have an mlm server do something with a model; return the model's state after that.

        Raises ConflictError, too: a model that is busy or pinned is not unloaded.
        """
        return self._document("POST", f"/admin/{action}", {"model": model})

    def chat(
        self, messages: Sequence[Mapping[str, object]], *, model: str, **params: object
    ) -> Answer:
        """Yield the answer to a conversation; closing the iterator cancels it.

        ``params`` are the API's own (``temperature``, ``max_tokens`` …); None means not sent.
        """
        return self._answer(_CHAT, {"model": model, "messages": list(messages), **params})

    def tape_chat(
        self, messages: Sequence[Mapping[str, object]], *, model: str, **params: object
    ) -> Tape:
        """Prepare the same question, on a connection of its own, to be asked and read later."""
        content = _encode(_streamed({"model": model, "messages": list(messages), **params}))
        connection, prefix = _open_address(self.base_url)
        headers = {**self._headers, "Content-Type": "application/json", "Connection": "close"}
        return Tape(connection, self.base_url, prefix + _CHAT, content, headers)

    def complete(self, prompt: str, *, model: str, **params: object) -> Answer:
        """Yield the continuation of a raw text, without a chat template; see `chat`."""
        return self._answer("/v1/completions", {"model": model, "prompt": prompt, **params})

    def _answer(self, path: str, body: Mapping[str, object]) -> Answer:
        response = self._request("POST", path, _streamed(body))
        try:
            yield from read_response(response)
            self._drain(response)
        finally:
            if not response.isclosed():
                response.close()
                self.close()

    def _drain(self, response: HTTPResponse) -> None:
        """Read the end of the body, so that the connection can be used again."""
        if self._connection.sock is not None:
            self._connection.sock.settimeout(DRAIN_TIMEOUT_S)
            try:
                response.read(1)
            except BROKEN:
                self.close()  # the answer is complete; only the connection is spoilt

    def _document(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        response = self._request(method, path, body)
        try:
            text = response.read(MAX_DOCUMENT_BYTES)
        except BROKEN as error:
            raise unreachable(self.base_url, error) from error
        finally:
            if not response.isclosed():
                response.close()
                self.close()
        with understanding("a JSON document"):
            return dict(json.loads(text))

    def _request(self, method: str, path: str, body: object = None) -> HTTPResponse:
        """Send one request and return its response; one that is not a success is raised."""
        try:
            response = self._exchange(method, path, body)
            if 200 <= response.status < 300:
                return response
            raise read_refusal(response)
        except BROKEN as error:
            self.close()
            raise unreachable(self.base_url, error) from error
        except BaseException:  # Ctrl-C too: a connection with half a request on it is spoilt
            self.close()
            raise

    def _exchange(self, method: str, path: str, body: object) -> HTTPResponse:
        """Send one request; a kept connection that the server closed meanwhile is replaced."""
        headers, content = dict(self._headers), None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = _encode(body)
        was_kept = self._connection.sock is not None
        try:
            return self._send(method, path, content, headers)
        except ConnectionError:
            if not was_kept:
                raise
            self.close()
            return self._send(method, path, content, headers)

    def _send(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> HTTPResponse:
        connection = self._connection
        if connection.sock is None:
            connection.connect()
        self._socket = connection.sock
        connection.sock.settimeout(self._silence_s)
        connection.request(method, self._prefix + path, content, headers)
        return connection.getresponse()


def _streamed(body: Mapping[str, object]) -> dict[str, object]:
    """Return a request without what is None, for a stream that ends with its usage."""
    asked = {name: value for name, value in body.items() if value is not None}
    return asked | {"stream": True, "stream_options": {"include_usage": True}}


def _encode(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")  # of lone surrogates


def _open_address(base_url: str) -> tuple[HTTPConnection, str]:
    """Return an unconnected connection to ``base_url``, and the path that it starts with."""
    wrong = UsageError(
        f"'{base_url}' is not the address of a server", remedy="write it like http://127.0.0.1:8000"
    )
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    scheme = {"http": HTTPConnection, "https": HTTPSConnection}.get(parts.scheme)
    odd = parts.username or parts.query or parts.fragment or " " in base_url
    if not (scheme and parts.hostname and base_url.isascii() and base_url.isprintable()) or odd:
        raise wrong
    return scheme(parts.hostname, port, timeout=CONNECT_TIMEOUT_S), parts.path
