"""The fake hub in a process of its own, where it takes no time from whom it serves."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fakes.hub.server import FakeHub


class Apart:
    """What can be said to a hub in another process."""

    def __init__(self, mouth: BinaryIO, ear: BinaryIO) -> None:
        self._mouth, self._ear = mouth, ear
        self.endpoint: str = pickle.load(ear)

    def add(self, *arguments: Any, **options: Any) -> str:
        """See `FakeHub.add`."""
        commit: str = self._tell("add", arguments, options)
        return commit

    def breaks(self, **fault: Any) -> None:
        """See `FakeHub.breaks`."""
        self._tell("breaks", (), fault)

    def recovers(self) -> None:
        """See `FakeHub.recovers`."""
        self._tell("recovers", (), {})

    def most_busy(self) -> int:
        """Return how many bodies have been on their way at once, and forget it."""
        most: int = self._tell("", (), {})
        return most

    def _tell(self, name: str, arguments: Any, options: Any) -> Any:
        _say(self._mouth, (name, arguments, options))
        return pickle.load(self._ear)


@contextmanager
def hub_apart() -> Iterator[Apart]:
    """Yield a hub that runs elsewhere on this machine."""
    tests = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", "from fakes.hub.apart import serve; serve()"],
        env={**os.environ, "PYTHONPATH": tests},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin and process.stdout
        yield Apart(process.stdin, process.stdout)
        process.stdin.close()  # which tells it to stop


def serve() -> None:
    """Do what is said on stdin until that is closed; this is what the other process runs."""
    heard, told = sys.stdin.buffer, sys.stdout.buffer
    with FakeHub() as hub:
        _say(told, hub.endpoint)
        while True:
            try:
                name, arguments, options = pickle.load(heard)
            except EOFError:
                return
            if name:
                result = getattr(hub, name)(*arguments, **options)
            else:
                result = hub.most_busy["cdn"]
                hub.most_busy.clear()
            _say(told, result)


def _say(stream: BinaryIO, thing: object) -> None:
    pickle.dump(thing, stream)
    stream.flush()
