"""What the store holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Origin = Literal["hub", "import", "adopted"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model file on disk. ``ref`` is what a person types to get it again."""

    ref: str  # org/repo:Q4_K_M, or the path of an imported file
    model_id: str  # what the server calls it; never a path
    model: str | None  # the catalog's name for it, where it has one
    quant: str | None
    repo_id: str | None
    commit: str | None
    filename: str  # inside the repository
    path: Path
    size_bytes: int
    sha256: str | None
    verified_at: float | None  # Unix time of the last time all bytes were hashed and right
    origin: Origin
    last_used_at: float | None
