"""What a manifest wants, and what a lock says it came to."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlm.hardware.types import AcceleratorKind
from mlm.planning.overrides import Overrides
from mlm.store.ref import HubRef, NameRef
from mlm.store.types import RemoteFile


@dataclass(frozen=True, slots=True)
class Smoke:
    """A question that a model has to answer before a machine counts as set up."""

    prompt: str = "Say hello."
    expect: str | None = (
        None  # text that the answer must hold, in any case; None: any answer will do
    )
    max_tokens: int = 128


@dataclass(frozen=True, slots=True)
class WantedModel:
    """One model of a manifest. ``where`` is its place there: ``mlm.yaml:3:5``."""

    ref: HubRef | NameRef
    where: str
    revision: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    smoke: Smoke = field(default_factory=Smoke)

    @property
    def name(self) -> str:
        """What to call the model on every command line."""
        return str(self.ref)

    @property
    def config_sha256(self) -> str:
        """Changes exactly when something else is asked of the runtime config."""
        return hash_overrides(self.overrides)


@dataclass(frozen=True, slots=True)
class Demands:
    """The least hardware that a manifest makes sense on. None: no such demand."""

    memory: int | None = None  # bytes of main memory in all, or of the container's limit
    accelerator: AcceleratorKind | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a machine should have."""

    path: Path
    models: tuple[WantedModel, ...]
    engine: str | None = None  # versions of llama-cpp-python that will do: ">=0.3.36,<0.4"
    demands: Demands = field(default_factory=Demands)


@dataclass(frozen=True, slots=True)
class LockedModel:
    """What one model of a manifest came to. Nothing in it depends on the machine."""

    ref: HubRef | NameRef
    revision: str | None  # as the manifest has it
    repo_id: str
    commit: str
    quant: str | None
    config_sha256: str  # of what is asked, not of what a machine makes of it
    files: tuple[RemoteFile, ...]  # the one that is loaded first

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        return str(self.ref)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Lock:
    """What a manifest came to, by the names of its models."""

    models: tuple[LockedModel, ...]
    engine: str | None = None  # version of llama-cpp-python: "0.3.36"

    def find(self, name: str) -> LockedModel | None:
        """Return the model that the manifest calls ``name``."""
        return next((model for model in self.models if model.name == name), None)


def hash_overrides(overrides: Overrides) -> str:
    """Return a checksum of what somebody insists on; of nothing else, least of all a machine."""
    asked = {name: value for name, value in asdict(overrides).items() if value is not None}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
