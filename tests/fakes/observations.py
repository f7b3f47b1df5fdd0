"""Observations for a ledger."""

from mlm.stats.types import Observation


def observation(**changes: object) -> Observation:
    """Return a decode speed that came true exactly, but for ``changes``."""
    values: dict[str, object] = {
        "at": 1_790_000_000.0,
        "machine": "here",
        "engine": "llama.cpp (llama-cpp-python 0.3.36)",
        "model": "tiny:Q4_K_M",
        "architecture": "llama",
        "quant": "Q4_K_M",
        "device": "cpu",
        "quantity": "decode_tps",
        "predicted": 20.0,
        "actual": 20.0,
        "n_past": 300,
        "attention_share": 0.0,
        "n_threads": 2,
        "source": "serve",
    }
    return Observation(**values | changes)  # type: ignore[arg-type]
