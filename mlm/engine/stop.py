"""Stop strings: the answer ends where one begins, and no part of it is ever sent."""

from collections.abc import Iterable


class StopStrings:
    """Passes text through until it contains a stop string.

    Text that might be the beginning of one is held back until the next text decides. Of several
    stop strings the one that is complete first counts, and of those the longest.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.matched = False

    def push(self, text: str) -> str:
        """Return the text that is now certain not to belong to a stop string."""
        if self.matched or not self._stops:
            return "" if self.matched else text
        text = self._held + text
        found = [
            (text.find(stop) + len(stop), text.find(stop)) for stop in self._stops if stop in text
        ]
        if found:  # the one that is complete first, wherever tokens cut the text
            self.matched, self._held = True, ""
            return text[: min(found)[1]]
        held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return what was held back, when no more text comes: it was no stop string after all."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` with which ``stop`` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
