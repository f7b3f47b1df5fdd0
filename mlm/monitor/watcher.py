"""Asks a server how it is, every second, and has it do what a person wants.

There is one loop, so there is never more than one question on its way. What a server is told to do
may take minutes, so that has a thread and a connection of its own.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mlm.client import Client, ModelAction
from mlm.errors import MlmError
from mlm.monitor.pace import Pace, Pacer
from mlm.monitor.reading import clean, read_stats
from mlm.monitor.types import Reading

PATIENCE_S = 10.0  # for an answer to a question
_LOAD_PATIENCE_S = 3600.0  # a large model comes slowly from a slow disk
_EVERY_S, _LONGEST_WAIT_S = 1.0, 15.0
_SHELF_S = 10.0  # installed models are asked for less often: that looks on the disk

_WORDS: Mapping[ModelAction, tuple[str, str]] = {
    "load": ("loading", "is loaded"),
    "unload": ("unloading", "is unloaded"),
    "pin": ("pinning", "is pinned: it stays in memory"),
    "unpin": ("unpinning", "is not pinned any more"),
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of the server, and what is going on with it."""

    url: str
    reading: Reading | None = None
    pace: Pace = field(default_factory=Pace)
    installed: tuple[str, ...] = ()  # ids of all models that it could serve
    seen_at: float | None = None  # when that was, Unix time
    trouble: str = ""  # why it is not known anew
    paused: bool = False
    reply: str = ""  # what became of the last order
    refused: bool = False
    replied_at: float = 0.0  # monotonic
    busy: frozenset[str] = frozenset()  # models with an order on its way


class Watcher:
    """Keeps a `Sight` up to date from a thread of its own, between ``start`` and ``stop``."""

    def __init__(self, dial: Callable[[float], Client], on_change: Callable[[], None]) -> None:
        """``dial`` returns a client with so much patience (seconds), or raises MlmError.

        It is called anew whenever the server had gone: it may have come back with another key.
        """
        self._dial, self._on_change = dial, on_change
        self._client: Client | None = None
        self._pacer = Pacer()
        self._sight = Sight("")
        self._changing = threading.RLock()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._shelf_due_at = 0.0
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def sight(self) -> Sight:
        """What is known now."""
        return self._sight

    def look(self) -> None:
        """Ask now.

        Raises:
            MlmError: whatever keeps the server from answering.
        """
        if self._client is None:
            self._client = self._dial(PATIENCE_S)
        reading, now = read_stats(self._client.stats()), time.monotonic()
        installed = self._sight.installed
        if now >= self._shelf_due_at:
            self._shelf_due_at = now + _SHELF_S
            installed = tuple(clean(model) for model in self._client.models())
        self._change(
            url=clean(self._client.base_url),
            reading=reading,
            pace=self._pacer.note(reading, now),
            installed=installed,
            seen_at=time.time(),
            trouble="",
        )

    def try_look(self) -> bool:
        """Ask now; False: there was no answer, and the sight says why."""
        try:
            self.look()
        except MlmError as error:
            self._hang_up()
            self._change(trouble=clean(error.message))
            return False
        return True

    def start(self) -> None:
        """Go on asking."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; what was ordered goes on at the server."""
        self._stopped.set()
        self._wake.set()

    def pause(self, *, paused: bool) -> None:
        """Stop asking, or go on."""
        self._change(paused=paused)
        self._wake.set()

    def order(self, action: ModelAction, model: str) -> None:
        """Have the server do something with a model, unless it is at it; see `Sight.reply`."""
        doing, _ = _WORDS[action]
        with self._changing:
            if model in self._sight.busy:
                return
            busy = self._sight.busy | {model}
            self._change(busy=busy, reply=f"{doing} {model} …", refused=False)
        work = threading.Thread(target=self._carry_out, args=(action, model), daemon=True)
        work.start()

    def _carry_out(self, action: ModelAction, model: str) -> None:
        _, done = _WORDS[action]
        try:
            with self._dial(_LOAD_PATIENCE_S) as client:
                client.administer(action, model)
            reply, refused = f"{model} {done}", False
        except MlmError as error:
            reply, refused = clean(error.message), True
        with self._changing:
            left = self._sight.busy - {model}
            self._change(busy=left, reply=reply, refused=refused, replied_at=time.monotonic())
        self._wake.set()

    def _run(self) -> None:
        wait_s = _EVERY_S
        while True:
            self._wake.wait(None if self._sight.paused else wait_s)
            self._wake.clear()
            if self._stopped.is_set():
                return
            if self._sight.paused:
                continue
            started = time.monotonic()
            if self.try_look():
                wait_s = max(0.1, started + _EVERY_S - time.monotonic())
            else:
                wait_s = min(2 * max(wait_s, _EVERY_S / 2), _LONGEST_WAIT_S)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._shelf_due_at = None, 0.0

    def _change(self, **news: object) -> None:
        with self._changing:
            self._sight = replace(self._sight, **news)  # type: ignore[arg-type]
        self._on_change()
