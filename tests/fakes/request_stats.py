"""Events to sum up."""

from mlm.stats.types import RequestStats


def request(**changes: object) -> RequestStats:
    """Return a request that went well, but for ``changes``."""
    values: dict[str, object] = {
        "finished_at": 1000.0,
        "model": "tiny",
        "endpoint": "chat",
        "ok": True,
        "error": None,
        "cache": "miss",
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 3,
        "queue_s": 0.0,
        "ttft_s": 0.2,
        "itl_s": (0.1, 0.1),
        "e2e_s": 0.4,
    }
    return RequestStats(**values | changes)  # type: ignore[arg-type]
