"""A store in the test's own home, and a client of the fake hub that loses patience quickly."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fakes.heard import Heard
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY

from mlm.paths import Home
from mlm.store.delivery import Delivery
from mlm.store.download import Terms
from mlm.store.hub import Hub
from mlm.store.order import Order
from mlm.store.ref import HubRef, parse_ref
from mlm.store.store import Store
from mlm.store.types import Downloaded
from mlm.store.wire import Timeouts

QUICK = Timeouts(
    connect_s=2, first_byte_s=0.3, stall_s=0.3, trickle_s=0.3, backoff_s=0.001
)  # seconds


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def store(home: Path, hub_cache: Path) -> Iterator[Store]:
    with Store(Home(home), hub_cache) as opened:
        yield opened


@pytest.fixture
def open_client() -> Iterator[type[Hub]]:
    """``Hub``, and whatever it opens is closed at the end: a traceback may keep it till then."""
    with ExitStack() as opened:

        class ClosedInTheEnd(Hub):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                opened.callback(self.close)

        yield ClosedInTheEnd


@pytest.fixture
def client(hub: FakeHub, open_client: type[Hub]) -> Hub:
    """The fake hub as mlm sees it."""
    return open_client(hub.endpoint, timeouts=QUICK)


@pytest.fixture
def tiny(hub: FakeHub) -> File:
    """A small model in a repository on the hub."""
    file = File(NAME, TINY)
    hub.add(REPO, file)
    return file


Download = Callable[..., list[Downloaded]]


@pytest.fixture
def download(store: Store, client: Hub, heard: Heard) -> Download:
    """Download a REF: ``download("org/tiny-GGUF:Q4_K_M", force=True)``."""

    def run(
        ref: str = f"{REPO}:Q4_K_M", revision: str = "main", **terms: object
    ) -> list[Downloaded]:
        wanted = parse_ref(ref)
        assert isinstance(wanted, HubRef)
        order = Order(wanted, revision)
        agreed = Terms(**terms)  # type: ignore[arg-type]
        return Delivery(store, client, agreed, heard).download(order)

    return run
