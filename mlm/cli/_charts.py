"""Small charts of characters, for what stdout can write."""

import math
import sys
from collections.abc import Sequence

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


def _ramp() -> str:
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _PLAIN
    return _BLOCKS
