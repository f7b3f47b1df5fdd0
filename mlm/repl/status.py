"""One line that says how the chat is doing, as wide as there is room for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlm.client import Recording

_SEPARATOR = " · "
_MIN_MODEL = 8  # columns of a model's name that are worth showing


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an answer came. None is unknown; times are seconds."""

    decode_tps: float | None = None
    ttft_s: float | None = None
    cached_tokens: int | None = None

    @classmethod
    def of(cls, answer: Recording) -> "Speed":
        """Return the speed of an answer that has ended."""
        usage = answer.finished.usage if answer.finished else None
        cached = usage.cached_tokens if usage else None
        return cls(answer.decode_tps, answer.ttft_s, cached)


def status_parts(model: str, used: int | None, limit: int | None, speed: Speed | None) -> list[str]:
    """Return what the status line says, the most important first."""
    parts = [model]
    if used is not None:
        parts.append(f"{used:,}/{limit:,} tokens" if limit else f"{used:,} tokens")
    if speed and speed.decode_tps is not None:
        parts.append(f"{speed.decode_tps:.1f} tok/s")
    if speed and speed.ttft_s is not None:
        parts.append(f"TTFT {speed.ttft_s:.2f} s")
    if speed and speed.cached_tokens:
        parts.append(f"{speed.cached_tokens:,} cached")
    return parts


def fit(parts: Sequence[str], width: int) -> str:
    """Return as many of the first ``parts`` as fit into ``width`` columns, and always the first."""
    from prompt_toolkit.utils import get_cwidth

    for count in range(len(parts), 1, -1):
        line = _SEPARATOR.join(parts[:count])
        if get_cwidth(line) <= width:
            return line
        rest = get_cwidth(line) - get_cwidth(parts[0])
        if count <= 3 and width - rest >= _MIN_MODEL:
            return _SEPARATOR.join([shorten(parts[0], width - rest), *parts[1:count]])
    return shorten(parts[0], width)


def shorten(text: str, width: int) -> str:
    """Return ``text`` on at most ``width`` columns, with an ellipsis for what is missing."""
    from prompt_toolkit.utils import get_cwidth

    if get_cwidth(text) <= width:
        return text
    kept = 0
    for index, char in enumerate(text):
        kept += get_cwidth(char)
        if kept > width - 1:
            return text[:index] + "…"
    return text
