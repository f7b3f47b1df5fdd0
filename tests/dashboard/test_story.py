"""The dashboard of a real `mlm serve` with the demo model; and of one with keys."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.browser import ENTER, Browser
from fakes.fake_server import serving
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve

from mlm.client import Client

pytestmark = pytest.mark.browser

QUESTION = [{"role": "user", "content": "What is mlm?"}]
HOSTILE = "<img src=x onerror=window.pwned=1>"
KEY = "an-admin-key-of-mine"
LIVE = "document.body.dataset.state === 'live'"
LOCKED = "document.body.dataset.state === 'locked'"


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


def test_what_happens_can_be_watched_and_changed(browser: Browser, served: MlmServe):
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
    browser.click("Pin mlm-demo")
    browser.wait_for_text("pinned", "#models .state")
    browser.click("Unload mlm-demo")
    browser.wait_for_text("is pinned", "#models li")
    browser.click("Unpin mlm-demo")
    browser.wait_for("!document.querySelector('#models .state').innerText.includes('pinned')")
    browser.click("Unload mlm-demo")
    browser.wait_for_text("Not loaded", "#models li")
    browser.click("Load mlm-demo")
    browser.wait_for_text("Ready", "#models li")
    assert served.stop() == 0
    browser.wait_for_text("The server does not answer", "#state")


def test_a_server_with_keys_is_watched_by_its_admins_only(browser: Browser, tmp_path: Path):
    key_file = tmp_path / "keys"
    key_file.write_text(KEY)
    with serving(tmp_path / "served", key_file=str(key_file)) as server:
        browser.open(server.url)
        browser.wait_for("document.activeElement.id === 'key'")
        browser.type("#key", f"not-a-key-of-mine{ENTER}")
        browser.wait_for_text("a valid API key is needed", "#sign-in")
        browser.type("#key", f"{KEY}{ENTER}")
        browser.wait_for_text("alpha", "#models")
        browser.open(f"{server.url}/metrics")
        assert "mlm_" in browser.text()
        browser.open(server.url)
        browser.wait_for(LIVE)
        browser.click("Sign out")
        browser.wait_for(LOCKED)
        browser.type("#key", f"{KEY}{ENTER}")
        browser.wait_for(LIVE)
        server.stop()
        browser.wait_for_text("The server does not answer", "#state")
    with serving(tmp_path / "served", key_file=str(key_file), port=server.port):
        browser.wait_for(LOCKED)  # it knows nothing of earlier sessions
        assert "alpha" not in browser.text()
        browser.type("#key", f"{KEY}{ENTER}")
        browser.wait_for(LIVE)
