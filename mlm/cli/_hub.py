"""The hub that a command talks to: the one inside mlm for what is bundled, else the configured."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from mlm.units import format_duration

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.store.hub import Hub


@contextmanager
def open_hub(session: "Session", repo_id: str) -> "Iterator[Hub]":
    """Yield the hub that has ``repo_id``.

    The bundled one is on loopback: it needs no token and no proxy, and works offline too.
    """
    from mlm.demo.hub import DEMO_REPO_ID, serve_bundled_hub
    from mlm.store.hub import Hub
    from mlm.store.wire import Timeouts

    if repo_id == DEMO_REPO_ID:
        with serve_bundled_hub() as endpoint, closing(Hub(endpoint, use_proxies=False)) as hub:
            yield hub
        return

    def on_wait(why: str, wait_s: float) -> None:
        session.note(f"{why}; trying again in {format_duration(wait_s)}")

    settings = session.settings
    hub = Hub(
        settings.endpoint,
        settings.token,
        settings.offline,
        timeouts=Timeouts().scaled(settings.timeout_scale),
        on_wait=on_wait,
    )
    with closing(hub):
        yield hub
