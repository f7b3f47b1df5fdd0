"""What is known of a model and its machine when somebody asks why it is slow."""

import shlex
from dataclasses import dataclass
from typing import Literal

from mlm.hardware.strain import Strain
from mlm.hardware.types import Hardware
from mlm.planning.placement import placement_of, split_model
from mlm.planning.types import ModelShape, RuntimeConfig, SpeedInterval
from mlm.stats.types import DeviceKind
from mlm.units import MIB

Status = Literal["ok", "slow", "note"]
# Of a smaller model fixed costs are most, which say nothing of any other.
MIN_MODEL_BYTES = 64 * MIB
NO_STRAIN = Strain()


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason: what it is, the figures that show it, and the command that changes it."""

    name: str  # cpu_quota, layers_on_cpu …
    status: Status  # slow: it costs speed, now
    what: str
    evidence: str
    fix: str | None = None  # None: nothing can, or nothing need


@dataclass(frozen=True, slots=True)
class Measured:
    """The speed of the last answers that had the machine to themselves; None: too few tokens."""

    decode_tps: float
    prefill_tps: float | None
    n: int  # observations
    age_s: float
    n_past: int  # tokens in the context meanwhile


@dataclass(frozen=True, slots=True)
class Live:
    """What a running server says of the model."""

    url: str
    pid: int  # of the worker
    active: int
    waiting: int
    decode_tps: float | None = None  # the median of its answers, alone or not


@dataclass(frozen=True, slots=True)
class Engine:
    """What the installed build of llama.cpp was made for."""

    cpu_features: tuple[str, ...]
    can_offload: bool
    has_unusable_amx: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the rules look at; what nobody could find out is None."""

    ref: str
    shape: ModelShape
    config: RuntimeConfig
    hardware: Hardware  # as if the model were not loaded
    predicted: tuple[SpeedInterval, SpeedInterval]  # decode and prefill, as full as ``measured``
    path: str | None = None  # of the file, if it is here
    measured: Measured | None = None
    live: Live | None = None
    strain: Strain = NO_STRAIN
    engine: Engine | None = None
    resident_share: float | None = None  # of the file, in memory
    smaller: str | None = None  # command for a smaller quantization of the model

    @property
    def placement(self) -> DeviceKind:
        """Where the layers are."""
        return placement_of(split_model(self.shape, self.config, self.hardware))

    @property
    def uses_cpu(self) -> bool:
        """Whether the CPU computes layers."""
        return self.placement in ("cpu", "mixed")

    @property
    def active_bytes(self) -> int:
        """About the weights that one token reads."""
        share = self.shape.params_active / self.shape.params if self.shape.params else 1.0
        return round(self.shape.disk_bytes * min(share, 1.0))

    def serve(self, options: str) -> str:
        """Return the command that serves the model with ``options``."""
        return f"mlm serve {shlex.quote(self.ref)} {options}"
