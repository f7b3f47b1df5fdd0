"""One answer on its way, watched by everybody who asked for it."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from mlm.engine.messages import (
    Accepted,
    AnswerForm,
    ChosenToken,
    Failed,
    Finished,
    TokenOut,
)
from mlm.engine.process import Event
from mlm.server.arrivals import Arrivals
from mlm.server.errors import ApiError, from_failed, to_api_error
from mlm.stats.types import Source

_log = logging.getLogger("mlm.server")
Produce = Callable[["Flight"], Coroutine[Any, Any, object]]


class Flight:
    """The text of one answer as it comes in, and how it ended.

    It is produced by a task of its own, so that whoever asked first may leave while others stay.
    When the last one leaves, it is cancelled. What it holds is at most one answer.
    """

    def __init__(self, produce: Produce, source: Source = "serve") -> None:
        self.source = source  # who asks: somebody, or a bench
        self.pieces: list[str] = []
        self.tokens: list[ChosenToken] = []  # of the pieces, if the request wants them
        self.prompt_tokens: int | None = None  # known once the worker has accepted the request
        self.form = AnswerForm()  # likewise
        self.finished: Finished | None = None
        self.error: ApiError | None = None
        self.replayed = False  # from the response cache
        self.storing = False  # it is on its way into the response cache
        self.engine = ""
        self.load_s = 0.0
        self.queue_s = 0.0  # waited for a place, before the worker had the request
        self._arrivals = Arrivals()
        self._watchers: set[Watcher] = set()
        self._task = asyncio.create_task(self._run(produce))

    @property
    def first_token_at(self) -> float | None:
        """When the first token came, on the monotonic clock."""
        return self._arrivals.first_at

    @property
    def completion_tokens(self) -> int:
        """How many tokens the answer has so far."""
        if self.finished is not None:
            return self.finished.completion_tokens
        return self._arrivals.n_tokens

    @property
    def accepted(self) -> bool:
        """Whether the request will run, or has run."""
        return self.prompt_tokens is not None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None or self.error is not None

    @property
    def wanted(self) -> bool:
        """Whether it goes on: it is not being cancelled and has not failed."""
        return (
            self.error is None
            and not self._task.cancelling()
            and (self.finished is not None or not self._task.done())
        )

    def put(self, event: Event) -> None:
        """Take in what the worker says."""
        match event:
            case TokenOut():
                self._arrivals.add(time.monotonic(), event.n_tokens)
                self.pieces.append(event.text)
                self.tokens += event.logprobs
            case Accepted():
                self.prompt_tokens, self.form = event.prompt_tokens, event.form
            case Finished():
                self.finished = event
            case Failed():
                self.error = from_failed(event)
        self._wake()

    def fail(self, error: BaseException) -> None:
        """End the answer with an error, unless it has ended already."""
        if not self.over:
            self.error = to_api_error(error)
        self._wake()

    def when_done(self, then: Callable[[], object]) -> None:
        """Have ``then`` called when its task has ended, even one that never began."""
        self._task.add_done_callback(lambda _: then())

    def watch(self) -> "Watcher":
        """Return a new watcher; leave it with ``with``."""
        return Watcher([self])

    def enter(self, watcher: "Watcher") -> None:
        """Have ``watcher`` woken when something happens."""
        self._watchers.add(watcher)

    def leave(self, watcher: "Watcher") -> None:
        """Stop watching; without watchers nobody needs the answer any more."""
        self._watchers.discard(watcher)
        if not self._watchers and not self.over:
            self._task.cancel()

    async def join(self) -> None:
        """Wait until its task has ended."""
        with suppress(asyncio.CancelledError):
            await self._task

    def gaps_s(self) -> tuple[float, ...]:
        """Return the seconds between tokens."""
        return self._arrivals.gaps_s()

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.wake()

    async def _run(self, produce: Produce) -> None:
        try:
            await produce(self)
        except asyncio.CancelledError:
            self.fail(ApiError(503, "cancelled", "the answer was cancelled"))
            raise
        except Exception as error:
            self.fail(error)
            if self.error is not None and self.error.code == "internal_error":
                _log.error("a bug while answering", exc_info=error)
        else:
            self.fail(ApiError(502, "worker_crashed", "the worker ended the answer without a word"))


class Watcher:
    """One reader of some flights. Reading is: `wait`, look at the flights, and so on."""

    def __init__(self, flights: Iterable[Flight]) -> None:
        """Watch ``flights``, of which some may be the same; leave them with ``with``."""
        self._flights = set(flights)
        self._has_changed = True  # something may have happened before
        self._waiting: asyncio.Future[None] | None = None
        for flight in self._flights:
            flight.enter(self)

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *_: object) -> None:
        for flight in self._flights:
            flight.leave(self)

    def wake(self) -> None:
        """End the current `wait`, or the next one."""
        self._has_changed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self) -> None:
        """Return when something has happened since the last `wait`, or somebody called `wake`.

        For one task. An `asyncio.Event` would do the same at a higher price for each token.
        """
        if not self._has_changed:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._has_changed = False
