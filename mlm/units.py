"""Sizes and times for people: reading what they type, writing what they read.

Inside mlm every size is an integer number of bytes.
"""

import re
import time
from contextlib import suppress

from mlm.errors import UsageError

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE | re.ASCII)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_LONGEST_S = 1000 * 366 * 86_400.0  # dates end somewhere
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_EXPONENT = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` means: ``12GiB``, ``1.5 GB``, ``500M``, ``4096``.

    As the standards have it: KiB, MiB, GiB are powers of 1024; kB, MB, GB powers of 1000. A bare
    letter (``12G``) is a power of 1024, as in curl and dd.

    Raises:
        UsageError: the text is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or (match[3] and not match[2]):
        raise UsageError(f"'{text}' is not a size", remedy="write it like 12GiB, 500MB or 4096")
    number, prefix, binary, byte = match.groups()
    base = 1000 if byte and not binary else 1024
    return int(float(number) * base ** _EXPONENT[prefix.lower()])


def to_ms(seconds: float) -> float:
    """Return milliseconds as documents have them: to the microsecond."""
    return round(seconds * 1000, 3)


def parse_age(text: str) -> float:
    """Return the seconds that ``text`` means: ``30m``, ``12h``, ``7d``, ``2w``.

    Raises:
        UsageError: the text is not a time, or over a thousand years.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip().lower(), re.ASCII)
    if match is None:
        raise UsageError(f"'{text}' is not a time", remedy="write it like 30m, 12h, 7d or 2w")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_S:
        raise UsageError("that is over a thousand years", remedy="write it like 30m, 12h, 7d or 2w")
    return seconds


def parse_since(text: str, now: float) -> float:
    """Return the moment (Unix time) that ``text`` means: so long ago, or a local date and time; at
    the earliest 0, which is 1970.

    ``24h``, ``7d``, ``2026-11-01``, ``2026-11-01T08:30``. ``now`` is Unix time, too.

    Raises:
        UsageError: the text is neither, or has not come yet.
    """
    remedy = "write it like 24h, 7d, 2026-11-01 or 2026-11-01T08:30"
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"):
        with suppress(ValueError, OverflowError):
            moment = time.mktime(time.strptime(text.strip(), form))
            if moment > now:
                raise UsageError(f"{text} has not come yet", remedy=remedy)
            return max(0.0, moment)
    try:
        return max(0.0, now - parse_age(text))
    except UsageError as error:
        raise UsageError(error.message, remedy=remedy) from error


def format_age(seconds: float) -> str:
    """Return how long ago something was: ``40 s``, ``5 min``, ``3 h``, ``12 days``."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds / divisor)} {unit}"
    return f"{int(seconds / 86400)} days"


def format_ago(at: float) -> str:
    """Return how long ago ``at`` (Unix time) was; a clock may have gone back since."""
    return f"{format_age(max(0.0, time.time() - at))} ago"


def format_size(size: int | None) -> str:
    """Return ``size`` bytes in binary units with three digits: ``4.58 GiB``; ``?`` for None."""
    if size is None:
        return "?"
    value, power = float(size), 0
    while abs(value) >= 1000 and power < len(_UNITS) - 1:
        value /= 1024
        power += 1
    if power == 0:
        return f"{size} B"
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f} {_UNITS[power]}"


def format_duration(seconds: float | None) -> str:
    """Return ``seconds`` as a person would say it: ``0.8 s``, ``12 s``, ``3m20s``, ``2h05m``."""
    if seconds is None:
        return "?"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"


def format_params(count: int) -> str:
    """Return a number of weights as models are named after it: ``8.03B``, ``135M``."""
    for factor, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= factor:
            value = count / factor
            decimals = 2 if value < 9.995 and factor == 10**9 else 1 if value < 99.95 else 0
            return f"{value:.{decimals}f}".removesuffix(".0") + letter
    return str(count)


def format_tokens(count: int) -> str:
    """Return a number of tokens as contexts are named: ``128k`` for 131072, ``500``."""
    if count < 1024:
        return str(count)
    return f"{count / 1024:.1f}".removesuffix(".0") + "k"
