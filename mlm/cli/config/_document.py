"""A runtime config as the JSON document ``mlm.config/1``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlm.planning.types import MemoryPlan, RuntimeConfig


def config_document(
    model_id: str, path: Path, config: "RuntimeConfig", planned: "MemoryPlan | None" = None
) -> dict[str, Any]:
    """Return the fields of the YAML file, what follows from them, and the reasons."""
    from mlm.planning.config_file import config_fields

    document = {
        "model": model_id,
        "path": str(path) if path.is_file() else None,
        **config_fields(config),
        "n_ctx_slot": config.n_ctx_slot,
        "reasons": dict(config.reasons),
    }
    if planned is not None:
        document |= {"verdict": planned.verdict, "verdict_reasons": list(planned.reasons)}
    return document
