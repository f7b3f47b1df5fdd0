"""What the store tells while it works, to whoever shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "checking", "downloading"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one file is. ``waiting``: another process fetches it, and this is how far *it* is.

    While ``downloading``, ``verified`` of the ``done`` bytes have also been hashed.
    """

    filename: str
    phase: Phase
    done: int  # bytes
    total: int
    connections: int = 0  # that the bytes come over now
    verified: int | None = None  # None: the phase does not say


class Listener:
    """Hears of progress and of what a person should know; this one keeps it to itself."""

    def expect(self, files: Mapping[str, int]) -> None:
        """Hear which files, of how many bytes, are going to be worked on: before the first is."""

    def progress(self, progress: Progress) -> None:
        """Hear how far a file is: often, many times a second."""

    def note(self, text: str) -> None:
        """Hear something a person should know: a retry, a replaced file."""
