"""One request to a running server."""

import json
import urllib.error
import urllib.request
from typing import Any, Protocol


class Served(Protocol):
    """A server that runs."""

    url: str


def ask(server: Served, path: str, **body: Any) -> tuple[int, Any, Any]:
    """Send one request, a GET if it has no body; return status, headers and document."""
    headers = {"Content-Type": "application/json"}
    content = json.dumps(body).encode() if body or not path.startswith("/admin/") else None
    asked = urllib.request.Request(f"{server.url}{path}", content, headers)
    try:
        with urllib.request.urlopen(asked) as reply:
            return reply.status, reply.headers, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())
