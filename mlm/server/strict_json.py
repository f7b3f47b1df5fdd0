"""Reading a JSON body that a stranger wrote: what is ambiguous or absurd is refused."""

import json
import re
from itertools import islice
from typing import Any

from mlm import strictjson
from mlm.server.errors import invalid

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
        document = strictjson.load(text, parse_int=_parse_int)
    except UnicodeDecodeError as error:
        raise invalid(f"the body is not UTF-8: byte {error.start}") from None
    except ValueError as error:
        raise invalid(f"the body {error}") from None
    if not isinstance(document, dict):
        raise invalid("the body is not a JSON object")
    if "\\u" in text and _has_lone_surrogate(document):
        raise invalid("the body holds half of a surrogate pair, which is not a character")
    return document


def _holds_too_many(body: bytes) -> bool:
    """Tell whether there are too many values, without making any: each has a comma or bracket."""
    most = 2 * MAX_VALUES  # a string counts twice, as it may be a key
    return sum(1 for _ in islice(_TOKEN.finditer(body), most + 1)) > most


def _parse_int(text: str) -> int:
    if len(text) > 20 or (value := int(text)) not in _INT_RANGE:
        raise ValueError("a number is too large")
    return value


def _has_lone_surrogate(document: object) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
