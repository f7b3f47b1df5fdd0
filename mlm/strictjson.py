"""JSON that somebody else wrote: what is ambiguous or absurd is refused.

`json.loads` alone takes NaN, duplicate keys and numbers that no other program can hold, and fails
in its own ways on deep nesting and on huge numbers.
"""

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 64


def _parse_int(text: str) -> int:
    _parse_float(text)  # most programs read every number as a double
    return int(text)


def load(text: str, *, parse_int: Callable[[str], int] = _parse_int) -> Any:
    """Return the value of one JSON document; ``parse_int`` refuses integers by a `ValueError`.

    Raises:
        ValueError: it is no such document. The message is what follows its name in a sentence:
            ``is not JSON: …``.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=parse_int,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    # The walk is skipped for the ordinary document.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(value):
        raise _too_deep()
    return value


def _too_deep() -> ValueError:
    return ValueError(f"is nested deeper than {MAX_DEPTH} levels")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number is too large: {text[:20]}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _is_too_deep(document: object) -> bool:
    depth, level = 0, [document]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    return False
