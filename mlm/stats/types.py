"""What is remembered of one request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestStats:
    """One finished request. Times are seconds; what did not happen is None."""

    finished_at: float  # Unix time
    model: str
    endpoint: str  # "chat", "completions", "embeddings"
    ok: bool
    error: str | None  # the error code, None when ok; "cancelled": the client left
    cache: str  # "hit", "miss", "shared", "bypass"
    prompt_tokens: int
    cached_tokens: int  # of the prompt, taken from a KV cache
    completion_tokens: int
    queue_s: float | None
    ttft_s: float | None
    itl_s: tuple[float, ...]  # gaps between tokens; empty for a cache hit
    e2e_s: float


@dataclass(frozen=True, slots=True)
class LoadStats:
    """One model load, and the memory that was predicted for it."""

    finished_at: float
    model: str
    ok: bool
    load_s: float
    predicted_bytes: int | None
    actual_bytes: int | None
