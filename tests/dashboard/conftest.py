"""A browser for the tests of the dashboard; without one on this machine they are skipped."""

from collections.abc import Iterator

import pytest
from fakes.browser import CHROMIUM, DRIVER, Browser, browsing
from fakes.stats_server import StatsServer, serving_stats


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("there is no chromium with chromedriver on this machine")
    with browsing(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser that has shown nothing yet. At the end its console must have stayed empty."""
    chromium.emulate()
    chromium.open("about:blank")
    chromium.devtools("Network.clearBrowserCookies")
    yield chromium
    assert [line for line in chromium.console() if not is_expected(line)] == []


def is_expected(line: str) -> bool:
    """Tell whether a line is only the browser's own note of an answer that was no, or none."""
    return "Failed to load resource" in line


@pytest.fixture(autouse=True)
def nothing_leaks() -> None:
    """A browser starts and ends processes when it likes; `chromium` sees that all have ended."""


@pytest.fixture
def server() -> Iterator[StatsServer]:
    """The page over figures that the test chooses."""
    with serving_stats() as server:
        yield server
