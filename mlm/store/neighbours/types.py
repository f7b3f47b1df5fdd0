"""What a look into other tools' folders yields."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlm.store.survey import DiskFile
from mlm.store.types import ModelFile

Neighbour = Literal["ollama", "lmstudio", "llama.cpp", "hf"]
NEIGHBOURS: tuple[Neighbour, ...] = ("ollama", "lmstudio", "llama.cpp", "hf")


@dataclass(frozen=True, slots=True)
class Found:
    """A model file of another tool. Its ``sha256`` is that tool's claim: nobody has checked it."""

    neighbour: Neighbour
    file: ModelFile
    content: DiskFile


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was left alone, and why."""

    neighbour: Neighbour
    path: Path
    reason: str


@dataclass(slots=True)
class Findings:
    """What has been found so far."""

    found: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
