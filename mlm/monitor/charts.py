"""Small charts of characters, for what stdout can write."""

import math
import sys
from collections.abc import Sequence

from mlm.monitor.pace import SPAN_S, Point

_BLOCKS, _PLAIN = " ▁▂▃▄▅▆▇█", " .:-=+*%#"


def sparkline(values: Sequence[float]) -> str:
    """Return a character for each value: blank for 0, the tallest for the greatest."""
    ramp, most = _ramp(), max(values, default=0)
    steps = len(ramp) - 1
    places = (math.ceil(steps * value / most) if value > 0 else 0 for value in values)
    return "".join(ramp[place] for place in places)


def bar(value: float, most: float, width: int) -> str:
    """Return a bar of at most ``width`` characters, at least one for what is not nothing."""
    length = round(width * value / most) if most > 0 else 0
    return _ramp()[-1] * max(length, 1 if value > 0 else 0)


def trace(points: Sequence[Point], now: float, width: int, top: float | None = None) -> str:
    """Return the last `SPAN_S` seconds in ``width`` characters, the latest on the right.

    Blank is where nothing is known; 0 is the lowest character. The tallest stands for ``top``, or
    for the greatest value there is. Stretches lie on the clock, so what is past does not flicker.
    """
    if width < 1:
        return ""
    stretch, ramp = SPAN_S / width, _ramp()
    last = math.floor(now / stretch)
    found: dict[int, list[float]] = {}
    for at, value in points:
        found.setdefault(math.floor(at / stretch) - last + width - 1, []).append(value)
    means = {place: sum(values) / len(values) for place, values in found.items()}
    most = top or max(means.values(), default=0)
    steps = len(ramp) - 1
    signs = []
    for place in range(width):
        mean = means.get(place)
        share = mean / most if mean and most > 0 else 0.0
        signs.append(" " if mean is None else ramp[max(1, min(steps, math.ceil(steps * share)))])
    return "".join(signs)


def writes_blocks() -> bool:
    """Tell whether stdout can write the characters of pretty charts."""
    try:
        (_BLOCKS + "●○◐✕▸…‖✓").encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _ramp() -> str:
    return _BLOCKS if writes_blocks() else _PLAIN
