"""``/tokenize`` and ``/detokenize``: a text as the model sees it, and back.

Such a request waits for the model like any other, but nothing is computed for it. It is not noted
in the statistics, whose times are those of answers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from mlm.engine.messages import Failed, Tokens
from mlm.engine.process import new_request_id
from mlm.server.connection import (
    ClientGone,
    Receive,
    Scope,
    Send,
    read_body,
    send_in_pieces,
    while_there,
)
from mlm.server.conversation import refuse_pictures
from mlm.server.errors import from_failed, invalid
from mlm.server.fields import ignored_header
from mlm.server.model import ServedModel
from mlm.server.services import Services
from mlm.server.strict_json import read_object
from mlm.server.token_schema import TokenRequest

_HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_PIECE = 4096  # tokens that are written in one go


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker has told of tokens."""

    model_id: str
    tokens: list[int]
    spellings: list[bytes]  # as many, or none
    n_ctx_slot: int


class TokensEndpoint(ABC):
    """An ASGI application for one of the two."""

    def __init__(self, services: Services, read: Callable[[dict[str, Any]], TokenRequest]) -> None:
        self._services, self._read = services, read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            request = self._read(read_object(await read_body(receive)))
            self._services.refuse_when_draining()
            model = await self._services.shelf.find(
                self._first() if request.model is None else request.model
            )
            refuse_pictures(request.ask.messages, model)
            told = await while_there(self._ask(model, request), receive)
            headers = [*_HEADERS, *ignored_header(request.ignored)]
            await send_in_pieces(send, self._pieces(told), headers)
        except ClientGone:
            pass

    @abstractmethod
    def _pieces(self, told: Told) -> Iterator[bytes]:
        """Yield the body of the answer, bit by bit."""

    def _first(self) -> str:
        """Return the model that is meant when none is named."""
        if not self._services.shelf.served:
            raise invalid("'model' is missing", "model")
        return self._services.shelf.served[0].model_id

    async def _ask(self, model: ServedModel, request: TokenRequest) -> Told:
        asked = msgspec.structs.replace(request.ask, request_id=new_request_id())
        async with self._services.pool.lease(model) as lease:
            (answer,) = await lease.worker.collect(asked)
            n_ctx_slot = lease.worker.ready.n_ctx_slot
        if isinstance(answer, Failed):
            raise from_failed(answer)
        assert isinstance(answer, Tokens)
        return Told(model.model_id, answer.tokens, answer.spellings, n_ctx_slot)


class TokenizeEndpoint(TokensEndpoint):
    """Text, or a chat, to tokens."""

    def _pieces(self, told: Told) -> Iterator[bytes]:
        yield b'{"tokens":['
        for start in range(0, len(told.tokens), _PIECE):
            tokens: list[Any] = told.tokens[start : start + _PIECE]
            if told.spellings:
                spellings = told.spellings[start : start + _PIECE]
                pairs = zip(tokens, spellings, strict=True)
                tokens = [{"id": token, "piece": _show(piece)} for token, piece in pairs]
            yield (b"," if start else b"") + msgspec.json.encode(tokens)[1:-1]
        rest = {"count": len(told.tokens), "model": told.model_id, "n_ctx_slot": told.n_ctx_slot}
        yield b"]," + msgspec.json.encode(rest)[1:]


class DetokenizeEndpoint(TokensEndpoint):
    """Tokens to text."""

    def _pieces(self, told: Told) -> Iterator[bytes]:
        text = b"".join(told.spellings).decode("utf-8", "replace")
        yield msgspec.json.encode({"content": text, "model": told.model_id})


def _show(spelling: bytes) -> str | list[int]:
    """Return a piece as text; as bytes, if it is a part of a character."""
    try:
        return spelling.decode("utf-8")
    except UnicodeDecodeError:
        return list(spelling)
