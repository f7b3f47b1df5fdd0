"""A small catalog file in order, to be bent by the tests."""

import copy
from typing import Any

SMALL: dict[str, Any] = {
    "family": "house",
    "sources": {"me": "measured at home"},
    "models": [
        {
            "model_id": "house-1b",
            "aliases": ["house"],
            "name": "House-1B",
            "params": 1_000_000_000,
            "architecture": {
                "name": "llama", "n_layer": 16, "n_embd": 2048, "n_head": 32, "n_head_kv": 8,
                "head_dim": 64, "n_vocab": 32000, "n_ctx_train": 4096,
            },
            "license": "MIT",
            "use_cases": ["chat"],
            "source": "me",
            "scores": [{"benchmark": "MMLU-Pro", "value": 40, "unit": "%", "source": "me"}],
            "quality": {"chat": 32},
            "quants": [
                {"quant": "Q8_0", "repo_id": "me/House-GGUF", "filename": "house.Q8_0.gguf",
                 "size_bytes": 1_100_000_000, "source": "me"},
                {"quant": "Q4_K_M", "repo_id": "me/House-GGUF", "filename": "house.Q4_K_M.gguf",
                 "size_bytes": 650_000_000, "sha256": "ab" * 32, "source": "me"},
            ],
        }
    ],
}  # fmt: skip

GONE = object()


def bend(parts: dict[tuple[str | int, ...], Any]) -> dict[str, Any]:
    """Return the small file with some parts replaced, or taken out (``GONE``)."""
    value = copy.deepcopy(SMALL)
    for path, new in parts.items():
        where: Any = value
        for step in path[:-1]:
            where = where[step]
        if new is GONE:
            del where[path[-1]]
        else:
            where[path[-1]] = new
    return value
