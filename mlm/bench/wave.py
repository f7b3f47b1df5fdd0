"""Requests at once, taken in by one thread that does nothing else meanwhile."""

import gc
import selectors
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import cast

from mlm.client import SILENCE_TIMEOUT_S, Tape


class Wave:
    """Asks tapes and keeps what comes. Times and CPU seconds are those of all of them together.

    At the end of the block whoever still answers is hung up on.
    """

    def __init__(self, silence_s: float = SILENCE_TIMEOUT_S) -> None:
        self._silence_s = silence_s
        self._tapes: list[Tape] = []
        self._first_s: float | None = None
        self._last_s = 0.0
        self.cpu_s = 0.0

    def __enter__(self) -> "Wave":
        self._selector = selectors.DefaultSelector()
        self._collects = gc.isenabled()
        gc.disable()  # what is kept here is a long list of bytes: nothing to look through
        self._cpu_at_start_s = process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = process_time() - self._cpu_at_start_s
        if self._collects:
            gc.enable()
        for tape in self._tapes:
            tape.leave()
        self._selector.close()

    @property
    def wall_s(self) -> float:
        """From the first question to the last thing that came."""
        return 0.0 if self._first_s is None else max(0.0, self._last_s - self._first_s)

    def ask(self, tapes: Sequence[Tape]) -> None:
        """Ask all of them at once; connecting comes before and does not count."""
        self._tapes += tapes
        for tape in tapes:
            tape.connect()
        if self._first_s is None:
            self._first_s = perf_counter()
        for tape in tapes:
            tape.ask()
            if not tape.is_over:
                self._selector.register(tape, selectors.EVENT_READ)

    def take_in(self, until: Callable[[], bool] = lambda: False) -> None:
        """Listen until every answer is over, or until ``until`` says so after something came."""
        listening = self._selector.get_map()
        while listening and not until():
            ready = self._selector.select(self._silence_s)
            now_s = self._last_s = perf_counter()
            for key, _ in ready:
                tape = cast(Tape, key.fileobj)
                tape.listen(now_s)
                if tape.is_over:
                    self._selector.unregister(key.fd)
            if not ready:
                self._give_up()

    def _give_up(self) -> None:
        for key in list(self._selector.get_map().values()):
            cast(Tape, key.fileobj).give_up()
            self._selector.unregister(key.fd)
