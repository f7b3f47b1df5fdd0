"""Typed access to the keys of one architecture."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlm.gguf.errors import GGUFError
from mlm.gguf.types import Value

_MAX_COUNT = 2**31 - 1  # llama.cpp keeps them in 32 bits


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys ``{architecture}.…`` of a header."""

    architecture: str
    values: Mapping[str, Value]

    def has(self, name: str) -> bool:
        """Return whether the key is there."""
        return f"{self.architecture}.{name}" in self.values

    def get(self, name: str) -> Value | None:
        """Return the value as it is, or None."""
        return self.values.get(f"{self.architecture}.{name}")

    def count(self, name: str, default: int | None = None) -> int:
        """Return a number from 0 to 2^31 - 1.

        Raises:
            GGUFError: it is not one, or it is missing and there is no default.
        """
        value = self.get(name)
        if value is None and default is not None:
            return default
        return as_count(value, f"{self.architecture}.{name}")

    def per_layer(self, name: str, n_layer: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return one number per layer; the file may hold a single one for all."""
        value = self.get(name)
        if value is None:
            return default
        key = f"{self.architecture}.{name}"
        if not isinstance(value, tuple):
            return (as_count(value, key),) * n_layer
        if len(value) < n_layer:
            raise GGUFError(f"{key} has {len(value)} items for {n_layer} layers")
        return tuple(as_count(item, key) for item in value[:n_layer])


def as_count(value: Value | None, key: str) -> int:
    """Return ``value`` as a number from 0 to 2^31 - 1; booleans count as 0 and 1."""
    if value is None:
        raise GGUFError(f"it lacks the key {key}")
    if not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise GGUFError(f"{key} is {str(value)[:40]}, not a count")
    return int(value)
