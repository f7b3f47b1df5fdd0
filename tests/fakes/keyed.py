"""A server without models that has keys, and what one shows to it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakes.asgi import Answer, call, no_models

from mlm.server.app import make_app
from mlm.server.keys import Keys
from mlm.server.keys_file import Key, add_key, digest_of
from mlm.server.services import Services

OWN_HOST = b"localhost:8000"
OWN_ORIGIN = b"http://" + OWN_HOST
HOST = (b"host", OWN_HOST)
USER, ADMIN, PLAIN = "mlm_key-of-a-user", "mlm_key-of-an-admin", "mlm_key-on-a-line-of-a-file"


@contextmanager
def keyed(folder: Path) -> Iterator[Services]:
    """Yield the parts of a server with three keys: in ``keys.json`` and in a file of plain ones."""
    path = folder / "keys.json"
    add_key(path, Key("user", "user", USER[:8], digest_of(USER.encode()), 0.0))
    add_key(path, Key("admin", "admin", ADMIN[:8], digest_of(ADMIN.encode()), 0.0))
    (folder / "lines").write_text(f"# of the team\n\n  {PLAIN}  \n", encoding="utf-8")
    with no_models(folder, Keys.open(path, folder / "lines")) as services:
        yield services


def bearer(secret: str | bytes) -> tuple[bytes, bytes]:
    """Return the header that OpenAI's clients send."""
    return b"authorization", b"Bearer " + _encoded(secret)


def api_key(secret: str | bytes) -> tuple[bytes, bytes]:
    """Return the header that Anthropic's clients send."""
    return b"x-api-key", _encoded(secret)


def begin_session(services: Services, body: object, *headers: tuple[bytes, bytes]) -> Answer:
    """Log in with ``body``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = [HOST, (b"content-type", b"application/json"), *headers]
    sent.append((b"content-length", b"%d" % len(content)))
    return asyncio.run(call(make_app(services), "POST", "/admin/session", sent, content))


def log_in(services: Services, secret: str = ADMIN) -> tuple[bytes, bytes]:
    """Begin a session; return the cookie among others, as a browser sends it."""
    cookie = begin_session(services, {"key": secret}).headers[b"set-cookie"].split(b";")[0]
    return b"cookie", b"theme=dark; " + cookie + b"; other=1"


def _encoded(secret: str | bytes) -> bytes:
    return secret.encode() if isinstance(secret, str) else secret
