"""How a server says no, in mlm's own errors."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

from mlm.errors import AuthError, EngineError, MlmError, NetworkError, NotFoundError, UsageError

MAX_MESSAGE_CHARS = 500  # of somebody else's words
_MAX_BODY_BYTES = 64 * 1024


class ContextLengthError(UsageError):
    """The prompt is longer than the context that the server gives to one request."""

    code = "context_length_exceeded"


class ServerBusyError(NetworkError):
    """The server's queue is full."""

    code = "server_busy"


class StreamCutError(NetworkError):
    """The connection ended in the middle of an answer."""

    code = "stream_cut"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the server cut the answer off: {why}",
            remedy="ask again; `mlm ps` shows whether the server still runs",
        )


@contextmanager
def understanding(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while reading a server's JSON into a NetworkError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NetworkError(
            f"the server sent something that is not {what}",
            remedy="check that the address is that of an OpenAI-compatible server",
        ) from error


def engine_failure(document: Mapping[str, Any]) -> EngineError:
    """Return the error that a server reports inside a stream."""
    return EngineError(
        f"the server gave up on the answer: {_error_text(document)[0]}",
        remedy="ask again; the server's log says more",
    )


def read_refusal(response: HTTPResponse) -> MlmError:
    """Return the error that a response without success means."""
    text, code = _read_error(response.read(_MAX_BODY_BYTES))
    said = f"the server answered {response.status}: {text or response.reason}"
    status = response.status
    if code == "context_length_exceeded":
        return ContextLengthError(text, remedy="shorten it, or serve the model with a larger --ctx")
    if status in (401, 403):
        return AuthError(said, remedy="give the server's key with --api-key-file FILE")
    if status == 404:
        return NotFoundError(said, remedy="`mlm ps` shows which models are served where")
    if status == 429:
        wait = response.getheader("Retry-After")
        return ServerBusyError(said, remedy=f"try again in {wait} s" if wait else "try again soon")
    if status >= 500:
        return EngineError(said, remedy="ask again; the server's log says more")
    if status >= 400:
        return UsageError(said)
    return NetworkError(said, remedy="check that the address is that of the server itself")


def _read_error(body: bytes) -> tuple[str, str | None]:
    """Return message and code of an error body: OpenAI's object, or whatever text it is."""
    try:
        return _error_text(json.loads(body))
    except (ValueError, RecursionError):
        return body.decode("utf-8", errors="replace").strip()[:MAX_MESSAGE_CHARS], None


def _error_text(document: object) -> tuple[str, str | None]:
    """Return message and code of ``{"error": {"message", "code"}}`` and its looser relatives."""
    error = document.get("error", document) if isinstance(document, dict) else document
    if not isinstance(error, dict):
        return str(error)[:MAX_MESSAGE_CHARS], None
    message = error.get("message") or error.get("detail") or json.dumps(error)
    return str(message)[:MAX_MESSAGE_CHARS], error.get("code") or error.get("type")
