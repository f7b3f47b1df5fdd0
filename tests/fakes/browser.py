"""A headless Chromium, driven as the W3C has it: plain HTTP to chromedriver."""

import base64
import http.client
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
DEADLINE_S = 10.0
ENTER = "\ue007"  # as WebDriver spells the key
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # it shows pages of this machine only, and root may have none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--force-device-scale-factor=1",
)


class Browser:
    """One window of a browser, as a test uses it."""

    def __init__(self, port: int, profile: Path) -> None:
        self._port = port
        options = {
            "binary": CHROMIUM,
            "args": [*_ARGUMENTS, f"--user-data-dir={profile}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{session['sessionId']}"

    def close(self) -> None:
        """End the browser."""
        self._ask("DELETE", self._session)

    def open(self, url: str) -> None:
        """Go to a page; what the console said of earlier ones is forgotten."""
        self.console()
        self._do("POST", "/url", {"url": url})

    def run(self, script: str, *values: Any) -> Any:
        """Return what a script, the body of a function, returns in the page."""
        return self._do("POST", "/execute/sync", {"script": script, "args": values})

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.run(f"return ({expression})")

    def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        deadline = time.monotonic() + DEADLINE_S
        while not (value := self.value(expression)):
            seen = self.value("document.body.innerText")
            assert time.monotonic() < deadline, f"never: {expression}\n{seen}"
            time.sleep(0.02)
        return value

    def wait_for_text(self, text: str, where: str = "body") -> None:
        """Wait until a text can be seen; a space may be one that does not break."""
        place = f"document.querySelector({json.dumps(where)})?.innerText"
        self.wait_for(f"{place}?.replaceAll('\\u00a0', ' ').includes({json.dumps(text)})")

    def text(self, selector: str = "body") -> str:
        """Return what can be read."""
        text = str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))
        return text.replace("\u00a0", " ")

    def click(self, name: str) -> None:
        """Click the button with an accessible name, as a person would."""
        spelled = f"//button[normalize-space(.)={json.dumps(name)}]"
        self._do("POST", f"/element/{self._find('xpath', spelled)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        found = self._find("css selector", selector)
        self._do("POST", f"/element/{found}/value", {"text": text})

    def console(self) -> list[str]:
        """Return what the console said since it was asked last."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def emulate(self, *, width: int = 1000, height: int = 900, scheme: str = "light") -> None:
        """Be a screen of so many CSS pixels, of somebody who likes it light or dark."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.devtools("Emulation.setDeviceMetricsOverride", **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def devtools(self, command: str, **params: Any) -> Any:
        """Send a command of the DevTools protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def shoot(self, path: Path) -> None:
        """Save a picture of the whole page."""
        picture = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _find(self, using: str, value: str) -> str:
        found = self._do("POST", "/element", {"using": using, "value": value})
        return str(next(iter(found.values())))

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self._ask(method, self._session + path, body)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
            assert response.status == 200, value
            return value
        finally:
            connection.close()


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Run a browser, with its profile in ``folder``, until the block ends."""
    assert DRIVER is not None
    driver, port = _start_driver(DRIVER)
    try:
        browser = Browser(port, folder / "profile")
        yield browser
        browser.close()
    finally:
        _end(driver)


def _start_driver(path: str) -> "tuple[subprocess.Popen[str], int]":
    """Start chromedriver; again, if somebody else took the port that it had chosen."""
    told: list[str] = []
    for _ in range(5):
        driver = subprocess.Popen(
            [path, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert driver.stdout is not None
        for line in driver.stdout:
            if match := re.search(r"started successfully on port (\d+)", line):
                return driver, int(match[1])
            told.append(line)
        driver.stdout.close()
        driver.wait()
    raise AssertionError(f"chromedriver does not start: {''.join(told)}")


def _end(driver: "subprocess.Popen[str]") -> None:
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.terminate()
    driver.wait(timeout=DEADLINE_S)
    assert driver.stdout is not None
    driver.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=3)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
