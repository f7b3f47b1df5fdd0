"""Who reads what mlm prints."""

import os
import select
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mlm.cli._lazy import ReaderGone


@contextmanager
def reader_watched(out: TextIO) -> Iterator[None]:
    """End the block as soon as nobody reads the pipe ``out`` any more, whatever it waits for.

    A write would be told, but there may be none for minutes. Nothing happens where ``out`` is no
    pipe, or where that cannot be watched.

    Raises:
        ReaderGone: the reader has left.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(select, "poll") or (pipe := _pipe_of(out)) is None:
        yield
        return
    has_left = threading.Event()
    main = threading.get_ident()

    def notice() -> None:
        poll = select.poll()
        poll.register(pipe, 0)  # errors are always told
        poll.register(end, select.POLLIN)
        if pipe in dict(poll.poll()):
            has_left.set()
            signal.pthread_kill(main, signal.SIGPIPE)  # interrupts what it waits for

    def leave(*_: object) -> None:
        if has_left.is_set():  # else it is a socket that broke
            raise ReaderGone

    end, end_of_end = os.pipe()
    before = signal.signal(signal.SIGPIPE, leave)
    watcher = threading.Thread(target=notice, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        os.close(end_of_end)
        watcher.join()
        os.close(end)
        signal.signal(signal.SIGPIPE, before)


def _pipe_of(out: TextIO) -> int | None:
    try:
        number = out.fileno()
        return number if stat.S_ISFIFO(os.fstat(number).st_mode) else None
    except (OSError, ValueError):  # a stream of a test; a closed one
        return None
