"""Reading the fields of a request body one by one: each is checked, none goes unnoticed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlm.server.errors import ApiError, invalid

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_IGNORED = 20  # names in X-Mlm-Ignored


class Fields:
    """A JSON object whose fields are ticked off as they are read. ``null`` means "not given"."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._read: set[str] = set()

    @property
    def unread(self) -> tuple[str, ...]:
        """The names of the fields that nobody asked for."""
        return tuple(name for name in self._body if name not in self._read)

    def any(self, name: str) -> Any:
        """Return the field as it is; None when it is not given."""
        self._read.add(name)
        return self._body.get(name)

    def required(self, name: str) -> Any:
        """Return the field.

        Raises:
            ApiError: it is not given.
        """
        value = self.any(name)
        if value is None:
            raise invalid(f"'{name}' is missing", name)
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a number from ``low`` to ``high``."""
        value = self.any(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(name, "a number")
        if not low <= value <= high:
            raise invalid(f"'{name}' is {value:.6g}; it must be from {low:g} to {high:g}", name)
        return float(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number from ``low`` to ``high``."""
        value = self.any(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(name, "a whole number")
        if not low <= value <= high:
            raise invalid(f"'{name}' is {value}; it must be from {low} to {high}", name)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Return true or false."""
        value = self.any(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise wrong_type(name, "true or false")
        return value

    def text(self, name: str, max_chars: int) -> str | None:
        """Return a string."""
        value = self.any(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_type(name, "a string")
        if len(value) > max_chars:
            raise invalid(f"'{name}' is longer than {max_chars} characters", name)
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an object; the empty one when it is not given."""
        value = self.any(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise wrong_type(name, "an object")
        return value

    def only(self, name: str, supported: Sequence[object], why: str) -> None:
        """Accept a field only with a value that asks for nothing this server cannot do."""
        value = self.any(name)
        if value is not None and value not in supported:
            raise invalid(f"'{name}': {why}", name)


def ignored_header(names: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Return the header that tells which fields had no effect; none if there were none.

    Names that are not plain are a client's own, and are not sent back.
    """
    plain = [name for name in names if _PLAIN.fullmatch(name)]
    return [(b"x-mlm-ignored", ", ".join(plain[:_MAX_IGNORED]).encode())] if plain else []


def wrong_type(name: str, wanted: str) -> ApiError:
    """Return the error for a field of another type than ``wanted``."""
    return invalid(f"'{name}' must be {wanted}", name)
