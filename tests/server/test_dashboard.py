"""The page, as it is sent: what it is made of, and what it is forbidden."""

import re
from pathlib import Path

import pytest
from fakes.fake_server import FakeServer

from mlm.server import dashboard
from mlm.server.dashboard import FILES

FOLDER = Path(dashboard.__file__).with_name("page")
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Where text could become markup or code, and where a key could be left lying about.
FORBIDDEN = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(",
    "createContextualFragment", "DOMParser", "srcdoc", "localStorage", "sessionStorage",
    "indexedDB", "document.cookie", "://",
)  # fmt: skip


@pytest.mark.parametrize("path", FILES)
def test_each_file_is_sent_with_its_type_and_under_lock(server: FakeServer, path: str):
    reply = server.ask("GET", path)
    assert reply.status == 200
    assert reply.body == (FOLDER / FILES[path]).read_bytes()
    assert reply.headers["Content-Type"] == TYPES[FILES[path].rsplit(".")[-1]]
    policy = reply.headers["Content-Security-Policy"].split("; ")
    for rule in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                 "form-action 'self'", "require-trusted-types-for 'script'"):  # fmt: skip
        assert rule in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_every_file_of_the_page_is_served_and_nothing_else(server: FakeServer):
    assert sorted(FILES.values()) == sorted(path.name for path in FOLDER.iterdir())
    others = ["/dashboard", "/dashboard/", "/dashboard/index.html", "/index.html", "//",
              "/dashboard/../../run.py", "/dashboard/%2e%2e/run.py", "/dashboard/..%2frun.py",
              "/dashboard/main.js/", "/dashboard/main.js%00", "/dashboard/MAIN.JS",
              "/dashboard//etc/passwd", "/dashboard/style.css.map", "/favicon.ico"]  # fmt: skip
    assert {path: server.ask("GET", path).status for path in others} == dict.fromkeys(others, 404)


def test_the_page_may_be_asked_for_but_not_written(server: FakeServer):
    assert server.ask("HEAD", "/").status == 200
    assert server.ask("POST", "/").status == 405
    assert server.ask("GET", "/?anything=1").status == 200


@pytest.mark.parametrize("name", FILES.values())
def test_what_a_file_refers_to_is_there(name: str):
    text = (FOLDER / name).read_text(encoding="utf-8")
    imported = {f"/dashboard/{other}" for other in re.findall(r'from "\./([^"]+)"', text)}
    linked = {f"/{other}" for other in re.findall(r'(?:href|src)="(dashboard/[^"]+)"', text)}
    assert imported | linked <= set(FILES)
    # Relative, so that the page may live under a path.
    assert re.findall(r"""["'`(]/(?:admin|v1|dashboard|metrics|openapi)""", text) == []


def test_nothing_stands_in_the_page_that_its_headers_forbid():
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
    assert (
        re.findall(r"<script(?! type=\"module\" src=\"dashboard/main.js\"></script>)", html) == []
    )
    assert "://" not in html


@pytest.mark.parametrize("name", sorted(n for n in FILES.values() if n.endswith(".js")))
def test_no_script_has_a_place_where_text_becomes_markup_or_a_key_stays(name: str):
    source = (FOLDER / name).read_text(encoding="utf-8")
    found = [word for word in FORBIDDEN if word in source.replace("http://www.w3.org/2000/svg", "")]
    assert found == []
