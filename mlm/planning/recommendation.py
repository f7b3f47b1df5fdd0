"""What `mlm recommend` answers: pairs of model and quantization, and why others are not there."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlm.catalog.types import CatalogEntry, Quant, UseCase
from mlm.planning.memory import judge_plans
from mlm.planning.types import (
    DevicePlan,
    MemoryPlan,
    ModelShape,
    RuntimeConfig,
    SpeedInterval,
)
from mlm.units import format_size


@dataclass(frozen=True, slots=True)
class Wish:
    """What the model is for, and what it must be able to do."""

    use: UseCase = "chat"
    n_ctx_slot: int | None = None  # tokens that one request may use; None: usual for the purpose
    users: int = 1  # requests at the same time
    min_tps: float | None = None
    license: str | None = None  # an SPDX identifier, or "permissive"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A pair that satisfies the wish, with everything its rank rests on."""

    entry: CatalogEntry
    quant: Quant
    wish: Wish
    shape: ModelShape
    config: RuntimeConfig
    devices: tuple[DevicePlan, ...]
    decode: SpeedInterval
    prefill: SpeedInterval
    parts: Mapping[str, float]  # quality (0 to 100), quant_loss, fit, speed (0 to 1)
    n_ctx_most: int | None = None  # tokens of a request for which memory would do; None: not asked

    @property
    def label(self) -> str:
        """What a person types to get it."""
        return f"{self.entry.model_id}:{self.quant.quant}"

    @property
    def quality(self) -> float:
        """Quality after quantization, 0 to 100."""
        return self.parts["quality"] * (1 - self.parts["quant_loss"])

    @property
    def score(self) -> float:
        """What decides the rank, 0 to 100."""
        return self.quality * self.parts["fit"] * self.parts["speed"]

    @property
    def speed(self) -> SpeedInterval:
        """The speed that matters for the purpose."""
        return self.prefill if self.wish.use == "embedding" else self.decode

    @property
    def memory_bytes(self) -> int:
        """What it occupies, over all devices."""
        return sum(device.total for device in self.devices)

    @property
    def plan(self) -> MemoryPlan:
        """The same with verdict and reasons."""
        return judge_plans(self.shape, self.config, self.devices)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is recommended, and on which conditions."""
        return _explain(self)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A pair that is not recommended, and why; ``quant`` is None if it holds for all of them."""

    model: str
    quant: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """Everything that was considered, the best first."""

    recommendations: tuple[Recommendation, ...]
    rejected: tuple[Rejection, ...]


def _explain(found: Recommendation) -> tuple[str, ...]:
    wish, config, speed = found.wish, found.config, found.speed
    users = f" for {wish.users} users" if wish.users > 1 else ""
    most = found.n_ctx_most or 0
    longer = f"; {most} tokens fit too" if most > config.n_ctx_slot else ""
    reasons = [
        f"{wish.use} quality {found.parts['quality']:.0f} of 100 by published scores; "
        f"{found.quant.quant} costs {found.parts['quant_loss']:.1%} of it",
        f"with {config.n_ctx_slot} tokens{users}: {', '.join(found.plan.reasons)}{longer}",
        f"about {speed.mid:.0f} tokens/s ({speed.low:.0f} to {speed.high:.0f})",
    ]
    eyes = found.entry.projector(found.quant)
    if eyes is not None and wish.use != "vision":
        reasons.append(
            f"it also takes pictures: with its projector, {format_size(eyes.size_bytes)} and what "
            "that computes in, it is ranked by --use vision"
        )
    if not config.use_mmap or config.type_k != "f16":
        reasons.append(f"only with {_economy(config)}")
    if found.entry.gated:
        reasons.append(f"its licence must be accepted on the hub first: {found.entry.base_repo}")
    return tuple(reasons)


def _economy(config: RuntimeConfig) -> str:
    savings = []
    if not config.use_mmap:
        savings.append("an unmapped file")
    if config.type_k != "f16":
        savings.append(f"a KV cache of type {config.type_k}")
    return " and ".join(savings)
