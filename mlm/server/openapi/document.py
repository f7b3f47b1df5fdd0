"""The OpenAPI document: every route, what it takes, and what may come back."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import mlm
from mlm.server.openapi.answers import answer_shapes
from mlm.server.openapi.requests import request_shapes
from mlm.server.openapi.shapes import TEXT, ref

_ALWAYS = (400, 401, 403, 408, 413, 415, 429, 431, 500, 503)  # connection, guard, a bug
_OF_MODELS = (404, 502)
_MEANINGS = {
    200: "The answer.",
    400: "The request makes no sense, or is too long for the model; `param` names the field.",
    401: "The server has keys, and this is none of them.",
    403: "A Host that is not this server's, or a page of another site.",
    404: "There is no such model; the message names the nearest ones.",
    408: "The request did not come in time.",
    409: "The model is busy or pinned.",
    413: "The body is too large.",
    415: "The body is not plain JSON.",
    429: "The model's queue is full, or what your key or address may have; see `Retry-After`.",
    431: "The headers are too large.",
    500: "The model's template or grammar failed, or this is a bug.",
    502: "The worker died.",
    503: "The model cannot be loaded, or the server is loading, full or shutting down.",
}
_QUESTION = [{"role": "user", "content": "What is mlm?"}]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. ``body``, ``answer`` and ``chunk`` are names of schemas."""

    method: str
    path: str
    summary: str
    answer: str
    body: str = ""
    chunk: str = ""  # of a stream
    media: str = "application/json"  # in which the answer comes
    asks_model: bool = False
    also: tuple[int, ...] = ()  # statuses with the same answer
    refuses: tuple[int, ...] = ()  # statuses with an error that others do not have
    examples: tuple[dict[str, Any], ...] = ()  # bodies that get a 200


OPERATIONS = (
    Operation("GET", "/v1/models", "The models that can be asked for", "ModelList"),
    Operation("GET", "/v1/models/{model_id}", "One model", "Model", asks_model=True),
    Operation(
        "POST", "/v1/chat/completions", "The next message of a chat", "Chat", "ChatRequest",
        "ChatChunk", asks_model=True,
        examples=(
            {"model": "mlm-demo", "messages": _QUESTION, "temperature": 0},
            {"model": "mlm-demo", "messages": _QUESTION, "max_tokens": 8, "stream": True,
             "stream_options": {"include_usage": True}},
        ),
    ),
    Operation(
        "POST", "/v1/completions", "What follows a text", "Completion", "CompletionRequest",
        "CompletionChunk", asks_model=True,
        examples=(
            {"model": "mlm-demo", "prompt": "mlm is", "max_tokens": 8, "seed": 7},
            {"model": "mlm-demo", "prompt": ["mlm is", [300, 301]], "n": 2, "logprobs": 3,
             "max_tokens": 4},
        ),
    ),
    Operation(
        "POST", "/v1/embeddings", "A vector for each text", "Embeddings", "EmbeddingsRequest",
        asks_model=True,
        examples=({"model": "nomic-embed-text-v1.5", "input": ["one text", "another"]},),
    ),
    *(
        Operation(
            "POST", path, "How well documents answer a query, best first", "Ranking",
            "RerankRequest", asks_model=True,
            examples=({"model": "bge-reranker-v2-m3", "query": "What is mlm?",
                       "documents": ["A command", "A river"], "top_n": 1},),
        )
        for path in ("/v1/rerank", "/rerank")
    ),
    Operation(
        "POST", "/tokenize", "The tokens of a text, or of a chat as the model is shown it",
        "TokenList", "TokenizeRequest", asks_model=True,
        examples=({"content": "What is mlm?", "with_pieces": True}, {"messages": _QUESTION}),
    ),
    Operation(
        "POST", "/detokenize", "The text of tokens", "Text", "DetokenizeRequest",
        asks_model=True, examples=({"tokens": [300, 301, 302]},),
    ),
    Operation("GET", "/health", "Whether the server lives; needs no key", "Health"),
    Operation("GET", "/ready", "Whether new requests are welcome", "Readiness", also=(503,)),
    Operation("GET", "/metrics", "Figures for Prometheus", "Metrics", media="text/plain"),
    Operation("GET", "/admin/stats", "What happened since the server started", "Statistics"),
    Operation("POST", "/admin/clear-cache", "Forget all cached responses", "Cleared"),
    *(
        Operation(
            "POST", f"/admin/{action}", summary, "Resident", "ModelRequest", asks_model=True,
            refuses=(409,) if action == "unload" else (), examples=({"model": "mlm-demo"},),
        )
        for action, summary in (
            ("load", "Load a model; answers when it is loaded"),
            ("unload", "Unload a model, if it is neither busy nor pinned"),
            ("pin", "Have a model stay in memory once it is loaded"),
            ("unpin", "Let a model make room for others again"),
        )
    ),
    Operation("GET", "/openapi.json", "This document", "OpenAPI"),
)  # fmt: skip


async def answer_document(request: Request) -> Response:
    """``GET /openapi.json``."""
    headers = {"cache-control": "no-store"}
    return Response(_encoded(), media_type="application/json", headers=headers)


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(make_document())


def make_document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlm",
            "version": mlm.__version__,
            "summary": "Local language models behind OpenAI's API.",
            "description": "Fields with null count as not given. Unknown fields are ignored and "
            "named in the header X-Mlm-Ignored. Streams are server-sent events that end with "
            "`data: [DONE]`, or with an event `error`.",
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}, {"x-api-key": []}],  # none while the server has no keys
        "paths": paths,
        "components": {
            "schemas": request_shapes() | answer_shapes(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _identify(operation),
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    if "{model_id}" in operation.path:
        described["parameters"] = [
            {"name": "model_id", "in": "path", "required": True, "schema": TEXT}
        ]
    if operation.body:
        examples = {f"example{i}": {"value": e} for i, e in enumerate(operation.examples, 1)}
        content = {"schema": ref(operation.body), "examples": examples}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _identify(operation: Operation) -> str:
    words = operation.path.translate(str.maketrans("/.-{}", "     ")).split()
    return "_".join([operation.method.lower(), *words])


def _responses(operation: Operation) -> dict[str, Any]:
    own = (*(_OF_MODELS if operation.asks_model else ()), *operation.refuses)
    refusals = sorted({*_ALWAYS, *own})
    responses = {str(status): _response(status, "Error") for status in refusals}
    for status in (200, *operation.also):
        responses[str(status)] = _response(status, operation.answer, operation.media)
    if operation.chunk:
        responses["200"]["content"]["text/event-stream"] = {"schema": ref(operation.chunk)}
    return dict(sorted(responses.items()))


def _response(status: int, shape: str, media: str = "application/json") -> dict[str, Any]:
    return {"description": _MEANINGS[status], "content": {media: {"schema": ref(shape)}}}
