"""Plans and recommendations as fields of JSON documents."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlm.planning.recommendation import Recommendation
    from mlm.planning.types import DevicePlan, RuntimeConfig, SpeedInterval


def recommendation_fields(found: "Recommendation") -> dict[str, Any]:
    """Return what ``mlm.recommend/1`` says of one recommendation, but for its rank."""
    quant = found.quant
    return {
        "model": found.entry.model_id,
        "quant": quant.quant,
        "repo_id": quant.repo_id,
        "revision": quant.revision,
        "filename": quant.filename,
        "size_bytes": quant.size_bytes,
        "size_exact": quant.size_exact,
        "sha256": quant.sha256,
        "memory_bytes": found.memory_bytes,
        "available_bytes": sum(device.available for device in found.devices),
        "grade": found.shape.grade,
        "decode_tps": interval_fields(found.decode),
        "prefill_tps": interval_fields(found.prefill),
        "n_ctx_slot": found.config.n_ctx_slot,
        "n_ctx_most": found.n_ctx_most,
        "license": found.entry.license,
        "score": round(found.score, 2),
        "score_parts": {name: round(part, 4) for name, part in found.parts.items()},
        "reasons": list(found.reasons),
    }


def interval_fields(speed: "SpeedInterval") -> dict[str, float]:
    """Return an interval with three significant digits."""
    return {
        "low": float(f"{speed.low:.3g}"),
        "mid": float(f"{speed.mid:.3g}"),
        "high": float(f"{speed.high:.3g}"),
    }


def device_fields(device: "DevicePlan") -> dict[str, Any]:
    """Return what ``mlm.plan/1`` says of one device."""
    fields = asdict(device)
    return {**fields, "total": device.total}


def context_fields(config: "RuntimeConfig") -> dict[str, Any]:
    """Return the parameters of llama.cpp's context that a worker will use."""
    return {
        "n_ctx": config.n_ctx,
        "n_seq_max": config.n_parallel,
        "n_batch": config.n_batch,
        "n_ubatch": config.n_ubatch,
        "n_outputs_max": config.n_outputs_max,
        "kv_unified": config.kv_unified,
        "flash_attn": config.flash_attn,
        "swa_full": config.swa_full,
        "type_k": config.type_k,
        "type_v": config.type_v,
        "n_threads": config.n_threads,
        "n_threads_batch": config.n_threads_batch,
    }
