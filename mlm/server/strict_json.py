"""Reading a JSON body that a stranger wrote: what is ambiguous or absurd is refused.

`json.loads` alone takes NaN, duplicate keys and halves of surrogate pairs, and fails in its own
ways on deep nesting and on huge numbers.
"""

import json
import math
import re
from itertools import islice
from typing import Any, NoReturn

from mlm.server.errors import invalid

MAX_DEPTH = 64
MAX_VALUES = 100_000  # 8 MiB of empty lists would keep the event loop busy for a second
_SMALL_BYTES = 256 * 1024  # cannot hold so many values that it matters
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[,\[{]', re.DOTALL)
_INT_RANGE = range(-(2**63), 2**64)  # what fits into msgpack


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Raises:
        ApiError: 400, saying what is wrong with it.
    """
    if len(body) > _SMALL_BYTES and _holds_too_many(body):
        raise invalid(f"the body holds more than {MAX_VALUES} values")
    try:
        text = body.decode("utf-8")
        document = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
            object_pairs_hook=_unique,
        )
    except UnicodeDecodeError as error:
        raise invalid(f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise invalid("the body is not a JSON object")
    # Both walks are skipped for the ordinary body, which holds no such thing.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        raise _too_deep()
    if "\\u" in text and _has_lone_surrogate(document):
        raise invalid("the body holds half of a surrogate pair, which is not a character")
    return document


def _holds_too_many(body: bytes) -> bool:
    """Tell whether there are too many values, without making any: each has a comma or bracket."""
    most = 2 * MAX_VALUES  # a string counts twice, as it may be a key
    return sum(1 for _ in islice(_TOKEN.finditer(body), most + 1)) > most


def _too_deep() -> Exception:
    return invalid(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _parse_int(text: str) -> int:
    if len(text) > 20 or (value := int(text)) not in _INT_RANGE:
        raise ValueError("a number is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _depth(document: object) -> int:
    depth, level = 0, [document]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    return depth


def _has_lone_surrogate(document: object) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
