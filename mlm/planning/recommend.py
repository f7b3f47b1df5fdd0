"""Ranks model and quantization pairs for a machine and a purpose.

score = quality x fit x speed. Quality is the catalog's figure for the purpose (0 to 100, from
published benchmarks) less what the quantization costs; fit falls a little as memory runs out;
speed is 1 where an answer comes faster than it is read. What breaks a hard constraint is out, as
is what another pair beats in quality, speed and memory at once. The reason is kept for each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlm.catalog.types import CatalogEntry, Quant, UseCase
from mlm.hardware.types import Hardware
from mlm.planning.memory import judge_plans
from mlm.planning.placement import devices_of
from mlm.planning.quants import quality_loss
from mlm.planning.runtime import fit_runtime
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import predict_speed
from mlm.planning.types import (
    DevicePlan,
    MemoryPlan,
    ModelShape,
    Overrides,
    RuntimeConfig,
    SpeedInterval,
)
from mlm.units import format_size

# Tokens that one request may use, where nobody said: long chats, larger files, long thoughts.
_DEFAULT_CTX: Mapping[UseCase, int] = {
    "chat": 8192, "code": 16384, "reasoning": 16384, "embedding": 2048, "vision": 8192,
}  # fmt: skip
# Tokens per second at which speed counts 0.8; three times as fast counts 0.97, a tenth 0.31. People
# read five to eight per second; code is skimmed; thoughts are waited for. Embeddings count prefill.
_COMFORT_TPS: Mapping[UseCase, float] = {
    "chat": 8.0, "code": 12.0, "reasoning": 15.0, "embedding": 500.0, "vision": 8.0,
}  # fmt: skip
# Of memory: fit falls to 0.98 at the first share, so that nobody pays double for nothing (BF16
# where Q8_0 does the same), and to 0.9 at the second, where little is left for anything else.
_EASY_SHARE, _FULL_SHARE = 0.8, 0.95
_UNKNOWN_QUALITY = 50.0  # only to compare the quantizations of one model


@dataclass(frozen=True, slots=True)
class Wish:
    """What the model is for, and what it must be able to do."""

    use: UseCase = "chat"
    n_ctx_slot: int | None = None  # tokens that one request may use; None: usual for the purpose
    users: int = 1  # requests at the same time
    min_tps: float | None = None


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


def recommend(
    entries: Sequence[CatalogEntry], hardware: Hardware, wish: Wish, top: int = 5
) -> Ranking:
    """Return the pairs that satisfy ``wish``, at most ``top`` and one per model, best first.

    The same arguments always give the same ranking.
    """
    rejected: list[Rejection] = []
    suited: list[CatalogEntry] = []
    for entry in entries:
        if reason := find_obstacle(entry, wish):
            rejected.append(Rejection(entry.model_id, None, reason))
        else:
            suited.append(entry)
    suited.sort(key=lambda entry: (-entry.quality[wish.use], entry.model_id))
    best: list[Recommendation] = []
    kept: list[Recommendation] = []
    for entry in suited:
        # The score is at most the quality, so most models need not be planned at all.
        if len(kept) >= top and entry.quality[wish.use] <= kept[top - 1].score:
            reason = f"at quality {entry.quality[wish.use]:.0f} it cannot be among the best {top}"
            rejected.append(Rejection(entry.model_id, None, reason))
            continue
        winner, losers = _compete(entry, hardware, wish)
        rejected += losers
        if winner is not None:
            best.append(winner)
            kept, _ = _drop_beaten(best)
    kept, beaten = _drop_beaten(best)
    below = [
        Rejection(found.entry.model_id, found.quant.quant, f"rank {rank}, score {found.score:.1f}")
        for rank, found in enumerate(kept[top:], start=top + 1)
    ]
    return Ranking(tuple(kept[:top]), (*below, *beaten, *rejected))


def choose_quant(entry: CatalogEntry, hardware: Hardware) -> Quant:
    """Return the quantization of a model that suits the machine best; the smallest if none fits."""
    use = entry.use_cases[0] if entry.use_cases else "chat"
    found = [consider(entry, quant, hardware, Wish(use)) for quant in entry.quants]
    fitting = [candidate for candidate in found if isinstance(candidate, Recommendation)]
    if not fitting:
        return min(entry.quants, key=lambda quant: quant.size_bytes)
    return max(fitting, key=lambda r: (r.score, r.quant.size_bytes)).quant


def consider(
    entry: CatalogEntry, quant: Quant, hardware: Hardware, wish: Wish
) -> Recommendation | Rejection:
    """Return what comes of one pair alone: its figures, or why it is out."""
    room = sum(device.available for device in devices_of(hardware))
    if quant.size_bytes > room:
        weights, have = format_size(quant.size_bytes), format_size(room)
        return Rejection(entry.model_id, quant.quant, f"its weights alone take {weights} of {have}")
    shape = shape_from_catalog(entry, quant)
    n_ctx_slot = min(wish.n_ctx_slot or _DEFAULT_CTX[wish.use], shape.n_ctx_train)
    overrides = Overrides(n_ctx_slot=n_ctx_slot, n_parallel=wish.users)
    fitted = fit_runtime(shape, hardware, overrides)
    if not fitted.fits:
        reason = judge_plans(shape, fitted.config, fitted.plans).reasons[0]
        return Rejection(entry.model_id, quant.quant, reason)
    decode, prefill = predict_speed(shape, fitted.config, hardware)
    speed = prefill if wish.use == "embedding" else decode
    if wish.min_tps is not None and speed.mid < wish.min_tps:
        reason = f"about {speed.mid:.1f} tokens/s, you asked for {wish.min_tps:g}"
        return Rejection(entry.model_id, quant.quant, reason)
    # A mixture of experts suffers like a dense model between its active and its total size.
    size = round(math.sqrt(entry.params * entry.params_active))
    parts = {
        "quality": entry.quality.get(wish.use, _UNKNOWN_QUALITY),
        "quant_loss": quality_loss(quant.quant, size),
        "fit": _fit(fitted.plans),
        "speed": math.sqrt(1 - math.exp(-speed.mid / _COMFORT_TPS[wish.use])),
    }
    return Recommendation(
        entry, quant, wish, shape, fitted.config, fitted.plans, decode, prefill, parts
    )


def find_obstacle(entry: CatalogEntry, wish: Wish) -> str | None:
    """Return why no quantization of the model will do, on whatever machine; None if one may."""
    if entry.bundled:
        return "it comes with mlm to try things out, and knows nothing else"
    if wish.use not in entry.use_cases:
        return f"it is not made for {wish.use}"
    if wish.use not in entry.quality:
        return f"no published figures say how good it is at {wish.use}"
    known = entry.architecture.n_ctx_train
    if wish.n_ctx_slot and known < wish.n_ctx_slot:
        return f"it was trained for {known} tokens, you asked for {wish.n_ctx_slot}"
    return None


def _fit(devices: Sequence[DevicePlan]) -> float:
    share = max(device.total / max(device.available, 1) for device in devices)
    over = max(share - _EASY_SHARE, 0) / (_FULL_SHARE - _EASY_SHARE)
    return 1 - 0.02 * min(share / _EASY_SHARE, 1) - 0.08 * min(over, 1)


def _compete(
    entry: CatalogEntry, hardware: Hardware, wish: Wish
) -> tuple[Recommendation | None, list[Rejection]]:
    """Return the best pair of a model, and the other pairs with what they lost to."""
    found = [consider(entry, quant, hardware, wish) for quant in entry.quants]
    candidates = [pair for pair in found if isinstance(pair, Recommendation)]
    winner = max(candidates, key=lambda pair: pair.score, default=None)
    losers = [pair for pair in found if isinstance(pair, Rejection)]
    if winner is not None:
        losers += [_lost(pair, winner) for pair in candidates if pair is not winner]
    return winner, losers


def _lost(candidate: Recommendation, winner: Recommendation) -> Rejection:
    reason = f"{winner.quant.quant} scores {winner.score:.1f}, this {candidate.score:.1f}"
    return Rejection(candidate.entry.model_id, candidate.quant.quant, reason)


def _drop_beaten(
    candidates: Sequence[Recommendation],
) -> tuple[list[Recommendation], list[Rejection]]:
    """Return what no other pair beats in quality, speed and memory at once, the best score first,
    and the beaten."""
    ordered = sorted(candidates, key=lambda c: (-c.quality, -c.speed.mid, c.memory_bytes, c.label))
    kept: list[Recommendation] = []
    beaten = []
    for candidate in ordered:
        winner = next((k for k in kept if _beats(k, candidate)), None)
        if winner is None:
            kept.append(candidate)
        else:
            reason = f"{winner.label} is better, faster and smaller"
            beaten.append(Rejection(candidate.entry.model_id, candidate.quant.quant, reason))
    kept.sort(key=lambda pair: (-pair.score, pair.entry.model_id))
    return kept, beaten


def _beats(winner: Recommendation, other: Recommendation) -> bool:
    """Return whether ``winner``, of no less quality, is also no slower and no larger."""
    return winner.speed.mid >= other.speed.mid and winner.memory_bytes <= other.memory_bytes


def _explain(found: Recommendation) -> tuple[str, ...]:
    wish, config, speed = found.wish, found.config, found.speed
    users = f" for {wish.users} users" if wish.users > 1 else ""
    reasons = [
        f"{wish.use} quality {found.parts['quality']:.0f} of 100 by published scores; "
        f"{found.quant.quant} costs {found.parts['quant_loss']:.1%} of it",
        f"with {config.n_ctx_slot} tokens{users}: {', '.join(found.plan.reasons)}",
        f"about {speed.mid:.0f} tokens/s ({speed.low:.0f} to {speed.high:.0f})",
    ]
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
