"""How the server says no: an HTTP status and OpenAI's error object."""

import json
import math
from typing import Any

from mlm.engine.messages import Failed
from mlm.engine.process import WorkerDied
from mlm.errors import DoesNotFitError, MlmError, NotFoundError, UsageError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}
_CODES = {
    404: "not_found",
    405: "method_not_allowed",
}
_FAILED_STATUS = {"context_length_exceeded": 400, "invalid_request_error": 400}


class ApiError(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        remedy: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param, self.remedy, self.retry_after_s = param, remedy, retry_after_s

    @property
    def type(self) -> str:
        """OpenAI's coarse class of the error."""
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"
        return _TYPES.get(self.status, fallback)

    @property
    def document(self) -> dict[str, Any]:
        """The error as OpenAI's clients expect it."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error | ({"remedy": self.remedy} if self.remedy else {})}

    @property
    def body(self) -> bytes:
        """`document` as JSON."""
        return json.dumps(self.document).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that belong to it."""
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(self.retry_after_s))))
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        return headers


def invalid(message: str, param: str | None = None, *, remedy: str | None = None) -> ApiError:
    """Return the error for a request that makes no sense."""
    return ApiError(400, "invalid_request_error", message, param=param, remedy=remedy)


def shutting_down() -> ApiError:
    """Return the error for a request that comes too late."""
    return ApiError(503, "shutting_down", "the server is shutting down", retry_after_s=5)


def from_status(status: int, message: str) -> ApiError:
    """Return the error for a bare HTTP status."""
    return ApiError(status, _CODES.get(status, "http_error"), message)


def from_failed(failed: Failed) -> ApiError:
    """Return what the worker's refusal means to the client."""
    status = _FAILED_STATUS.get(failed.code, 500)
    return ApiError(status, failed.code, failed.message, param=failed.param)


def to_api_error(error: BaseException) -> ApiError:
    """Return what ``error`` means to the client; what nobody foresaw is a 500 without details."""
    match error:
        case ApiError():
            return error
        case NotFoundError():
            known = {"status": 404, "code": "model_not_found", "param": "model"}
        case WorkerDied():
            # The remedy is a path on this machine, which is nothing to a client elsewhere.
            return ApiError(502, error.code, error.message)
        case DoesNotFitError():
            known = {"status": 503, "code": error.code}
        case UsageError():
            known = {"status": 400, "code": "invalid_request_error"}
        case MlmError():
            known = {"status": 503, "code": error.code}
        case _:
            return ApiError(
                500, "internal_error", "this is a bug in mlm; the server's log says more"
            )
    return ApiError(message=error.message, remedy=error.remedy, **known)  # type: ignore[arg-type]
