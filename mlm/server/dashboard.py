"""The dashboard at ``/``: a page with its style, icon and scripts, all held in memory.

It asks this server and nobody else, and shows what it hears as text. The headers keep it so even
if the page should have a fault: no script, style or picture from elsewhere or from within the
page, no markup made of strings, no frame of another site around it.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_FOLDER = Path(__file__).with_name("page")
_SCRIPTS = ("ask", "chart", "machine", "main", "models", "nodes", "requests", "speed", "words")
# What there is, by path: a request never names a file.
FILES = {
    "/": "index.html",
    "/dashboard/style.css": "style.css",
    "/dashboard/icon.svg": "icon.svg",
    **{f"/dashboard/{name}.js": f"{name}.js" for name in _SCRIPTS},
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".js": "text/javascript; charset=utf-8",
}
_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # the next mlm has another page
}


class Dashboard:
    """The endpoint of all `FILES`."""

    def __init__(self) -> None:
        self._contents = {path: (_FOLDER / name).read_bytes() for path, name in FILES.items()}

    async def page(self, request: Request) -> Response:
        """``GET /``, and what belongs to it."""
        path = request.scope["path"]
        kind = _TYPES[Path(FILES[path]).suffix]
        return Response(self._contents[path], headers=_HEADERS, media_type=kind)
