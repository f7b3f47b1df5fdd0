"""A key as JSON documents have it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlm.server.keys_file import Key


def describe_key(key: "Key") -> dict[str, Any]:
    """Return what may be told of a key."""
    return {
        "name": key.name,
        "scope": key.scope,
        "prefix": key.prefix,
        "tenant": key.tenant,
        "created_at": key.created_at,
        "requests_per_minute": key.requests_per_minute,
        "concurrent": key.concurrent,
    }
