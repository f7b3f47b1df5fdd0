"""The routes of the server, and how their errors reach the client."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlm.errors import MlmError
from mlm.server.access import AccessLog
from mlm.server.admin import Admin
from mlm.server.chat_reply import ChatReply
from mlm.server.dashboard import FILES, Dashboard
from mlm.server.embeddings import EmbeddingsEndpoint
from mlm.server.errors import ApiError, from_status, to_api_error
from mlm.server.guard import SESSION_PATH, App, Guard
from mlm.server.openapi.document import answer_document
from mlm.server.reply import CompletionReply
from mlm.server.report import Report, error_response
from mlm.server.rerank import RerankEndpoint
from mlm.server.schema import read_chat, read_completion
from mlm.server.services import Services
from mlm.server.session import SessionEndpoint
from mlm.server.text import TextEndpoint
from mlm.server.token_schema import read_detokenize, read_tokenize
from mlm.server.tokens import DetokenizeEndpoint, TokenizeEndpoint
from mlm.server.vector_schema import read_embeddings, read_rerank


def make_app(services: Services, allowed_hosts: tuple[str, ...] = ()) -> App:
    """Return the ASGI application of one server."""
    guard = Guard(make_router(services), services.keys, services.sessions, allowed_hosts)
    return AccessLog(guard, services)


def make_router(services: Services) -> Starlette:
    """Return the routes, without the checks that come before them."""
    report, admin = Report(services), Admin(services)
    chat = TextEndpoint(services, "chat", read_chat, ChatReply)
    completions = TextEndpoint(services, "completions", read_completion, CompletionReply)
    embeddings = EmbeddingsEndpoint(services, "embeddings", read_embeddings)
    rerank = RerankEndpoint(services, "rerank", read_rerank)
    tokenize = TokenizeEndpoint(services, read_tokenize)
    detokenize = DetokenizeEndpoint(services, read_detokenize)
    dashboard = Dashboard()
    session = SessionEndpoint(services.keys, services.sessions)
    router = Starlette(
        routes=[
            *(Route(path, dashboard.page) for path in FILES),
            Route("/v1/models", report.models),
            Route("/v1/models/{model_id:path}", report.model),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/rerank", rerank, methods=["POST"]),
            Route("/rerank", rerank, methods=["POST"]),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/detokenize", detokenize, methods=["POST"]),
            Route("/openapi.json", answer_document),
            Route("/health", report.health),
            Route("/ready", report.ready),
            Route("/metrics", report.metrics),
            Route("/admin/stats", report.stats),
            Route("/admin/clear-cache", report.clear_cache, methods=["POST"]),
            Route(SESSION_PATH, session, methods=["POST", "DELETE"]),
            Route("/admin/load", admin.load, methods=["POST"]),
            Route("/admin/unload", admin.unload, methods=["POST"]),
            Route("/admin/pin", admin.pin, methods=["POST"]),
            Route("/admin/unpin", admin.unpin, methods=["POST"]),
        ],
        exception_handlers={
            ApiError: _answer_error,
            MlmError: _answer_error,
            HTTPException: _answer_status,
            Exception: _answer_error,
        },
    )
    router.router.redirect_slashes = False  # a redirect would repeat the Host header
    return router


async def _answer_error(request: Request, error: Exception) -> Response:
    failure = to_api_error(error)
    request.scope["mlm.error"] = failure.code
    return error_response(failure)


async def _answer_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers=error.headers)  # Allow: what there is instead
    failure = from_status(error.status_code, error.detail)
    request.scope["mlm.error"] = failure.code
    response = error_response(failure)
    response.headers.update(error.headers or {})  # Allow, of a 405
    return response
