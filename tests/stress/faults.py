"""24 kinds of faulty server, each met by a fresh and by an interrupted download.

Sizes, offsets and how often the fault strikes come from the seed. Every fifth seed throttles each
connection, so that there are several when the fault strikes.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.errors import ExitCode, MlmError
from mlm.paths import Home
from mlm.store.delivery import Delivery
from mlm.store.download import Terms
from mlm.store.hub import Hub
from mlm.store.listener import Listener, Progress
from mlm.store.order import Order
from mlm.store.ref import HubRef
from mlm.store.store import Store
from mlm.store.wire import Timeouts
from mlm.units import MIB

PATIENCE = Timeouts(connect_s=2, first_byte_s=0.4, stall_s=0.4, trickle_s=0.4, backoff_s=0.001)
SLOW_BYTES_PER_S = 3e6  # each connection, where several are wanted
DOCUMENTED = {ExitCode.INTEGRITY, ExitCode.NETWORK, ExitCode.AUTH, ExitCode.NOT_FOUND}
LIMITS = {"bad_accepted": 0}


@dataclass(frozen=True)
class Case:
    fault: str
    start: str  # fresh, resumed
    seed: int

    @property
    def is_parallel(self) -> bool:
        return self.seed % 5 == 4


class Watch(Listener):
    """Sees how many connections there have been at once."""

    most_connections = 0

    def progress(self, progress: Progress) -> None:
        self.most_connections = max(self.most_connections, progress.connections)


@dataclass
class Trouble:
    """A hub that is about to misbehave towards one file."""

    hub: FakeHub
    file: File
    chance: random.Random
    pace: float | None

    def __post_init__(self) -> None:
        assert isinstance(self.file.content, bytes)
        self.content = self.file.content
        self.size = len(self.content)
        self.at = self.chance.randrange(5, self.size)
        self.times = self.chance.choice([None, 1, 2, 3])

    def breaks(self, **fault: Any) -> None:
        self.hub.breaks(**{"times": self.times, "pace": self.pace} | fault)


def _busy(trouble: Trouble) -> None:
    page = b"<!doctype html><title>502</title>"
    headers = trouble.chance.choice(
        [
            {},
            {"Retry-After": "0"},
            {"Retry-After": formatdate(usegmt=True)},
            {"RateLimit": '"api";r=0;t=0', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'},
            {"Retry-After": "soon"},
        ]
    )
    status = trouble.chance.choice([408, 425, 429, 500, 502, 503, 504])
    body = trouble.chance.choice([b"", page])
    beyond = trouble.chance.choice([0, 1, 3]) if trouble.pace else 0
    trouble.breaks(status=status, headers=headers, body=body, beyond=beyond)


def _expired(trouble: Trouble) -> None:
    if trouble.chance.random() < 0.4:
        trouble.hub.link_uses = trouble.chance.choice([0, 1, 2])
    else:
        skip = trouble.chance.choice([0, 1, 2, 3])
        trouble.breaks(status=trouble.chance.choice([401, 403, 410]), skip=skip)


def _splice(trouble: Trouble) -> None:
    other = model_bytes(trouble.size, seed=99)
    trouble.breaks(splice=(trouble.chance.choice([0, trouble.at]), other))


def _page(trouble: Trouble) -> None:
    page = b"<!doctype html><title>Sign in</title>".ljust(trouble.size)
    trouble.breaks(splice=(0, page), shorten=trouble.chance.choice([0, trouble.size - 500]))


def _lying_length(trouble: Trouble) -> None:
    length = trouble.chance.choice([0, trouble.at, trouble.size + 1, trouble.size * 2, 10**18])
    trouble.breaks(content_length=length)


def _wrong_range(trouble: Trouble) -> None:
    size, at = trouble.size, trouble.at
    said = trouble.chance.choice(
        [
            f"bytes {at}-{size - 1}/{size}",
            f"bytes 0-{size - 1}/{size + 1}",
            f"bytes 0-{at - 1}/{size}",
            f"bytes */{size}",
            "bytes 0-99999999999999999999999/*",
            "none",
            "",
        ]
    )
    trouble.breaks(content_range=said, partial_for_whole=trouble.chance.random() < 0.5)


def _changed(trouble: Trouble) -> None:
    other = model_bytes(trouble.size, seed=98)
    skip = trouble.chance.choice([0, 1, 2])
    etag = trouble.chance.choice(['"new"', 'W/"new"', "new", ""])
    trouble.breaks(skip=skip, splice=(0, other), headers={"ETag": etag})


def _leftovers(trouble: Trouble) -> None:
    junk = trouble.chance.choice([bytes(70_000), b"HTTP/1.1 200 OK\r\n\r\nGGUF" + bytes(70_000)])
    trouble.breaks(status=503, body=junk, content_length=5, stays_open=True)


def _redirects(trouble: Trouble) -> None:
    where = trouble.chance.choice(["api", "resolve", "cdn"])
    target = trouble.chance.choice(
        ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://10.0.0.1/x", "", "//", "x" * 10_000]
    )
    if trouble.chance.random() < 0.5:
        trouble.breaks(where=where, hops=trouble.chance.choice([1, 5, 9, 10, 11, 10**6]))
    else:
        trouble.breaks(where=where, status=302, headers={"Location": target})


def _listing(trouble: Trouble) -> None:
    other = {"sha256": File("", b"GGUFother").sha256, "size": trouble.size, "pointerSize": 1}
    longer = {"sha256": trouble.file.sha256, "size": trouble.size + 7, "pointerSize": 1}
    shorter = {"sha256": trouble.file.sha256, "size": trouble.at, "pointerSize": 1}
    nothing = {"sha256": trouble.file.sha256, "size": 0, "pointerSize": 1}
    trouble.file.listed["lfs"] = trouble.chance.choice([other, longer, shorter, nothing, None])


def _chaos(trouble: Trouble) -> None:
    other = model_bytes(trouble.size, seed=97)
    kinds: list[dict[str, Any]] = [
        {"drop_at": trouble.at, "reset": True},
        {"status": 503},
        {"flip_bit": trouble.at * 8},
        {"splice": (trouble.at, other)},
        {"chunked": True, "append": b"junk"},
        {"ignore_range": True},
        {"where": "resolve", "status": 500},
        {"where": "api", "drop_before_headers": True},
        {"headers": {"ETag": '"other"'}},
    ]
    for number, kind in enumerate(trouble.chance.sample(kinds, 4)):
        trouble.breaks(**kind, times=None, chance=0.4, seed=trouble.chance.randrange(99) + number)


FAULTS: dict[str, Callable[[Trouble], None]] = {
    "cut with FIN": lambda t: t.breaks(drop_at=t.at),
    "cut with RST": lambda t: t.breaks(drop_at=t.at, reset=True),
    "cut before the headers": lambda t: t.breaks(
        drop_before_headers=True, reset=t.chance.random() < 0.5
    ),
    "stalls in the body": lambda t: t.breaks(stall_at=t.at),
    "stalls before the headers": lambda t: t.breaks(stall_before_headers=True),
    "busy": _busy,
    "links expire": _expired,
    "a bit flipped": lambda t: t.breaks(flip_bit=t.at * 8 + t.chance.randrange(8)),
    "spliced": _splice,
    "a page instead": _page,
    "shorter": lambda t: t.breaks(shorten=t.size - t.at),
    "longer": lambda t: t.breaks(append=bytes(t.chance.choice([1, 4096, MIB]))),
    "a flood": lambda t: t.breaks(append=bytes(4 * MIB), chunked=True),
    "a lying length": _lying_length,
    "compressed": lambda t: t.breaks(compressed=True),
    "wrong ranges": _wrong_range,
    "a part for the whole": lambda t: t.breaks(partial_for_whole=True, drop_at=t.at),
    "ignores ranges": lambda t: t.breaks(ignore_range=True, drop_at=t.at),
    "changed meanwhile": _changed,
    "left over bytes": _leftovers,
    "redirects": _redirects,
    "a wrong listing": _listing,
    "cut without a length": lambda t: t.breaks(close_delimited=True, drop_at=t.at),
    "chaos": _chaos,
}


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield all faults, fresh and resumed, with ``rounds`` seeds each."""
    for number in range(rounds):
        for fault in FAULTS:
            for start in ("fresh", "resumed"):
                yield Case(fault, start, seed + number)


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Download from a faulty hub, then once more when it has recovered."""
    chance = random.Random(str(case))
    size = 10 * MIB if case.is_parallel else chance.choice([5_000, 300_000, 3 * MIB + 17])
    file = File(NAME, model_bytes(size + chance.randrange(1000), seed=chance.randrange(90)))
    pace = SLOW_BYTES_PER_S if case.is_parallel else None
    with FakeHub() as hub, Store(Home(folder / "home"), folder / "hub") as store:
        hub.add(REPO, file)
        trouble = Trouble(hub, file, chance, pace)
        if case.start == "resumed":
            _break_off(trouble, store)
        FAULTS[case.fault](trouble)
        if pace:
            hub.breaks(pace=pace)
        watch = Watch()
        accepted = _try(hub, store, trouble.content, folder, watch)
        hub.recovers()
        hub.link_uses = None
        file.listed.clear()
        assert _try(hub, store, trouble.content, folder), "it does not get over it"
        _check_tidy(folder)
    return {
        "runs": 1,
        "accepted": accepted,
        "refused": not accepted,
        "bad_accepted": 0,
        "with several connections": watch.most_connections > 1,
    }


def _break_off(trouble: Trouble, store: Store) -> None:
    hub = trouble.hub
    hub.breaks(drop_at=trouble.chance.randrange(1, trouble.size), times=1)
    hub.breaks(status=404)
    _try(hub, store, trouble.content, None)
    hub.recovers()


def _try(
    hub: FakeHub,
    store: Store,
    content: bytes,
    folder: Path | None,
    listener: Listener | None = None,
) -> bool:
    """Download; whether it was accepted. What is accepted must be right, what is refused gone."""
    client = Hub(hub.endpoint, timeouts=PATIENCE)
    order = Order(HubRef(REPO, quant="Q4_K_M"))
    try:
        (file,) = Delivery(store, client, Terms(), listener or Listener()).download(order)
    except MlmError as error:
        assert error.exit_code in DOCUMENTED, f"{error.exit_code!r}: {error.message}"
        assert error.code and error.message and error.remedy, repr(error)
        shown = f"{error.message} {error.remedy}"
        assert "Signature" not in shown and "Traceback" not in shown, shown
        if folder:
            named = [*(folder / "hub").glob("*/snapshots/*/*")]
            assert all(path.read_bytes() == content for path in named), f"kept: {named}"
        return False
    assert file.path.read_bytes() == content, "a bad file was accepted"
    return True


def _check_tidy(folder: Path) -> None:
    left = [
        path.name
        for path in (folder / "hub").rglob("*")
        if path.is_file() and not path.is_symlink() and "blobs" in path.parts
    ]
    assert len(left) == 1, f"left over: {left}"
