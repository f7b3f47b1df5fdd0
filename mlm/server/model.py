"""What the server is told of a model, and how a worker is told."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mlm.engine.messages import WorkerConfig
from mlm.hardware.types import Hardware
from mlm.planning.types import MemoryPlan, ModelShape, RuntimeConfig

_WORKER_FIELDS = WorkerConfig.__struct_fields__


@dataclass(frozen=True, slots=True)
class Premises:
    """What a plan rests on, so that what it predicts can be put to the test."""

    shape: ModelShape
    hardware: Hardware


@dataclass(frozen=True, slots=True)
class Installed:
    """A model file on this disk that nobody has asked for yet."""

    path: Path
    sees: bool = False  # a projector lies beside it; whether it suits has not been looked at


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model file on this disk, how to run it, and what that will occupy."""

    model_id: str
    path: Path
    sha256: str | None  # of the file; None when nobody has hashed it yet
    config: RuntimeConfig
    memory: MemoryPlan
    premises: Premises | None = None
    min_dimensions: int | None = None  # to which its vectors may be cut; None = they may not be
    mmproj: Path | None = None  # the projector that is loaded with it; None = it takes no pictures
    mmproj_sha256: str | None = None  # of that file, as above

    @property
    def memory_by_device(self) -> Mapping[str, int]:
        """Bytes per device."""
        return {device.device: device.total for device in self.memory.devices}

    @property
    def files(self) -> tuple[object, ...]:
        """What is loaded, and whether that is still the same."""
        return self.path, self.sha256, self.mmproj, self.mmproj_sha256

    @property
    def log_name(self) -> str:
        """What the file is called that its workers' output goes to."""
        name = "".join(c if c.isalnum() or c in ".-_" else "_" for c in self.model_id)
        return f"{name}.log"

    @property
    def identity(self) -> str:
        """What changes when a file changes: its sha256, or what the file system says of it."""
        own = _identity(self.path, self.sha256)
        return f"{own}+{_identity(self.mmproj, self.mmproj_sha256)}" if self.mmproj else own


FindModel = Callable[[str], ServedModel]  # raises NotFoundError


def worker_config(config: RuntimeConfig) -> WorkerConfig:
    """Return ``config`` in the engine's terms."""
    return WorkerConfig(**{name: getattr(config, name) for name in _WORKER_FIELDS})


def _identity(path: Path, sha256: str | None) -> str:
    if sha256 is not None:
        return sha256
    try:
        status = path.stat()
    except OSError:
        return f"{path}:gone"  # loading it will say so
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"


def config_id(config: RuntimeConfig) -> str:
    """Return a short name of a config: the same settings have the same one."""
    settings = msgspec.json.encode(worker_config(config), order="sorted")
    return hashlib.sha256(settings).hexdigest()[:12]
