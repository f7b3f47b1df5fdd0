"""What an administrator may have done to a model: load, unload, pin, unpin."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mlm.server.connection import ClientGone, read_body
from mlm.server.fields import Fields, ignored_header, wrong_type
from mlm.server.model import ServedModel
from mlm.server.report import describe, json_response
from mlm.server.resident import Resident
from mlm.server.services import Services
from mlm.server.strict_json import read_object

_GONE = 499  # nobody reads it


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request to do something with a model."""

    model: str
    ignored: tuple[str, ...]  # fields that had no effect


def read_model_request(body: dict[str, Any]) -> ModelRequest:
    """Return the request in the body of ``/admin/load`` and the like.

    Raises:
        ApiError: 400 with ``param``.
    """
    fields = Fields(body)
    model = fields.required("model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    return ModelRequest(model, fields.unread)


class Admin:
    """``POST /admin/…`` with ``{"model": id}``; each answers with the state of that model."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def load(self, request: Request) -> Response:
        """``POST /admin/load``: load it if it is not loaded, and answer when it is."""
        self._services.refuse_when_draining()
        return await self._answer(request, self._services.pool.load)

    async def unload(self, request: Request) -> Response:
        """``POST /admin/unload``: unload it; 409 while it is busy or pinned."""
        return await self._answer(request, self._services.pool.unload)

    async def pin(self, request: Request) -> Response:
        """``POST /admin/pin``: once loaded, it stays."""
        return await self._answer(request, self._pin)

    async def unpin(self, request: Request) -> Response:
        """``POST /admin/unpin``: it may make room again."""
        return await self._answer(request, self._unpin)

    async def _pin(self, model: ServedModel) -> Resident:
        return self._services.pool.pin(model, pinned=True)

    async def _unpin(self, model: ServedModel) -> Resident:
        return self._services.pool.pin(model, pinned=False)

    async def _answer(
        self, request: Request, do: Callable[[ServedModel], Awaitable[Resident]]
    ) -> Response:
        try:
            asked = read_model_request(read_object(await read_body(request.receive)))
        except ClientGone:
            return Response(status_code=_GONE)
        resident = await do(await self._services.shelf.find(asked.model))
        response = json_response(describe(resident))
        response.raw_headers += ignored_header(asked.ignored)
        return response
