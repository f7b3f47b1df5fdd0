"""How a server says no, in mlm's own errors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from mlm.client.sse import OversizedEvent
from mlm.errors import (
    AuthError,
    ConflictError,
    DoesNotFitError,
    EngineError,
    IntegrityError,
    MlmError,
    NetworkError,
    NotFoundError,
    UsageError,
)

# What a broken network and a broken server make of `http.client`.
BROKEN = (OSError, HTTPException, OversizedEvent)
MAX_MESSAGE_CHARS = 500  # of somebody else's words
_MAX_BODY_BYTES = 64 * 1024
_SEE_LOG = "ask again; the server's log says more"


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


# Error codes that say more than the status they come with.
_BY_CODE: dict[str, type[MlmError]] = {
    error.code: error for error in (ContextLengthError, DoesNotFitError, IntegrityError)
}
_BY_STATUS: dict[int, tuple[type[MlmError], str]] = {
    401: (AuthError, "give the server's key with --api-key-file FILE"),
    403: (AuthError, "give the server's key with --api-key-file FILE"),
    404: (NotFoundError, "`mlm ps` shows which models are served where"),
    409: (ConflictError, "`mlm ps` shows what it is doing"),
    429: (ServerBusyError, "try again in a moment"),
}
_BY_HUNDRED: dict[int, tuple[type[MlmError], str]] = {
    4: (UsageError, "change what it names and ask again"),
    5: (EngineError, _SEE_LOG),
}


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What a server says went wrong: OpenAI's error object, or a looser relative of it."""

    message: str
    code: str | None = None
    remedy: str | None = None  # mlm's own server gives one


def unreachable(base_url: str, error: Exception) -> NetworkError:
    """Return the error of a server that does not answer, or not in HTTP."""
    return NetworkError(
        f"cannot talk to {base_url}: {describe(error)}",
        remedy="`mlm ps` lists the running servers, `mlm serve REF` starts one",
    )


def describe(error: Exception) -> str:
    """Return in words what a network failure is."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


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


def engine_failure(document: object) -> MlmError:
    """Return the error that a server reports inside a stream."""
    complaint = _read_complaint(document)
    family = _BY_CODE.get(complaint.code or "", EngineError)
    return family(
        f"the server gave up on the answer: {complaint.message}",
        remedy=complaint.remedy or _SEE_LOG,
    )


def read_refusal(response: HTTPResponse) -> MlmError:
    """Return the error that a response without success means."""
    complaint = _read_body(response.read(_MAX_BODY_BYTES))
    family, remedy = _BY_STATUS.get(response.status) or _BY_HUNDRED.get(
        response.status // 100, (NetworkError, "check that the address is that of the server")
    )
    family = _BY_CODE.get(complaint.code or "", family)
    if family is ContextLengthError:
        remedy = "shorten it, or serve the model with a larger --ctx"
    if wait := response.getheader("Retry-After"):
        remedy = f"try again in {wait} s"
    words = complaint.message or response.reason
    return family(
        f"the server answered {response.status}: {words}", remedy=complaint.remedy or remedy
    )


def _read_body(body: bytes) -> _Complaint:
    try:
        return _read_complaint(json.loads(body))
    except (ValueError, RecursionError):
        return _Complaint(_one_line(body.decode("utf-8", errors="replace")))


def _read_complaint(document: object) -> _Complaint:
    """Return what ``{"error": {"message", "code", "remedy"}}`` says, or something like it."""
    error = document.get("error", document) if isinstance(document, dict) else document
    if not isinstance(error, dict):
        return _Complaint(_one_line(str(error)))
    message = error.get("message") or error.get("detail") or json.dumps(error)
    code, remedy = (_text(error.get(key)) for key in ("code", "remedy"))
    return _Complaint(_one_line(str(message)), code, remedy)


def _text(value: object) -> str | None:
    return _one_line(value) if isinstance(value, str) and value else None


def _one_line(words: str) -> str:
    """Return somebody else's words so that they cannot look like lines of ours."""
    return " ".join(words.split())[:MAX_MESSAGE_CHARS]
