"""The dashboard of a real `mlm serve` with the demo model, until the server ends and is back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.browser import Browser
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve

from mlm.client import Client

pytestmark = pytest.mark.browser

QUESTION = [{"role": "user", "content": "What is mlm?"}]
HOSTILE = "<img src=x onerror=window.pwned=1>"
LIVE = "document.body.dataset.state === 'live'"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[MlmServe]:
    hostile = tmp_path / f"{HOSTILE}.gguf"
    shutil.copyfile(DEMO_MODEL, hostile)
    with mlm_serve(tmp_path / "served", str(DEMO_MODEL), str(hostile), "--threads", "1") as server:
        server.wait_for("loaded")
        yield server


def ask(server: MlmServe, model: str, n_times: int) -> None:
    """Ask a model the same question."""
    with Client(server.url) as client:
        for _ in range(n_times):
            for _ in client.chat(QUESTION, model=model, temperature=0):
                pass


def test_what_happens_can_be_watched(browser: Browser, served: MlmServe):
    browser.open(served.url)
    browser.wait_for(LIVE)
    ask(served, "mlm-demo", 2)
    ask(served, HOSTILE, 1)
    browser.wait_for("document.querySelectorAll('#requests tr').length === 3")
    assert HOSTILE in browser.text("#models")
    assert browser.value("document.images.length") == 0
    assert browser.value("window.pwned") is None
    card = browser.text("#models li")
    assert "mlm-demo" in card
    assert "TTFT" in card and " ms" in card
    assert "1 of 3" in browser.text("#tiles")  # the second answer came from the cache
    port = served.url.rsplit(":", 1)[1]
    assert served.stop() == 0
    browser.wait_for_text("The server does not answer", "#state")
    with mlm_serve(served.home, str(DEMO_MODEL), "--port", port):
        browser.wait_for(LIVE)
