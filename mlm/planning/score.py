"""What decides a rank: score = quality x fit x speed, each by a formula that a reader can redo.

Every formula comes with its arithmetic in words, for `mlm recommend --explain`.
"""

import math
from collections.abc import Mapping, Sequence

from mlm.catalog.types import CatalogEntry, Quant, UseCase
from mlm.hardware.types import Hardware
from mlm.planning.placement import devices_of
from mlm.planning.quants import MOST_LOSS_FACTOR, divergence_at_8b, quality_loss
from mlm.planning.types import DevicePlan

# Tokens per second at which speed counts 0.8; at half of them 0.55, at a fifth 0.28, at twice as
# many 0.96. People read five to eight per second, and most models think a little first; code is
# skimmed; thoughts are waited for, thousands of them. For embeddings it is prefill that counts.
COMFORT_TPS: Mapping[UseCase, float] = {
    "chat": 10.0, "code": 15.0, "reasoning": 25.0, "embedding": 300.0, "vision": 10.0,
}  # fmt: skip
_COMFORT_SPEED = 0.8
UNKNOWN_QUALITY = 50.0  # only to compare the quantizations of one model
# Tables of tokens have more bits than the average tensor, so the others have fewer.
_LEAST_DENSITY = 0.85
# Of memory, more costs a little, so that nobody pays double for nothing (BF16 where Q8_0 does the
# same). Beyond the easy share of main memory, other programs get in the way; a card has no others.
_SHARE_COST, _EASY_SHARE = 0.04, 0.8
_MAIN_COST, _CARD_COST = 1.0, 0.2


def loss_of(entry: CatalogEntry, quant: str) -> float:
    """Return the share of quality, 0 to 1, that ``entry`` loses by quantization."""
    return quality_loss(quant, _loss_size(entry))


def explain_loss(entry: CatalogEntry, quant: str) -> str:
    """Return the arithmetic of `loss_of`."""
    divergence = divergence_at_8b(quant)
    if not divergence:
        return f"{quant} is what it was trained in, or as good"
    billions = f"{_loss_size(entry) / 1e9:.4g}"
    return f"1 - exp(-{divergence:g} x min(sqrt(8 / {billions}), {MOST_LOSS_FACTOR:g}))"


def _loss_size(entry: CatalogEntry) -> int:
    # A mixture of experts suffers like a dense model between its active and its total size.
    return round(math.sqrt(entry.params * entry.params_active))


def speed_factor(tps: float, use: UseCase) -> float:
    """Return how good a speed is, 0 to 1: slow answers are worth little, fast ones no more."""
    return 1 - math.exp(-tps / _scale(use))


def explain_speed(tps: float, use: UseCase) -> str:
    """Return the arithmetic of `speed_factor`."""
    return f"1 - exp(-{tps:.4g} / {_scale(use):.4g})"


def _scale(use: UseCase) -> float:
    return COMFORT_TPS[use] / -math.log(1 - _COMFORT_SPEED)


def most_tps(entry: CatalogEntry, quant: Quant, hardware: Hardware) -> float:
    """Return a speed of decoding that no prediction exceeds: all it must read, at full bandwidth.

    Not read are the experts that the router leaves out, and the table of tokens but for one row.
    """
    bandwidths = [hardware.memory_bandwidth_bytes_per_s]
    bandwidths += [found.bandwidth_bytes_per_s for found in hardware.accelerators]
    known = [bandwidth for bandwidth in bandwidths if bandwidth is not None]
    shape = entry.architecture
    read = (entry.params_active - shape.n_vocab * shape.n_embd) * _LEAST_DENSITY
    if len(known) < len(bandwidths) or read <= 0:
        return math.inf
    return max(known) / (quant.size_bytes * read / entry.params)


def most_score(
    entry: CatalogEntry, quant: Quant, use: UseCase, hardware: Hardware, haste: float = 1.0
) -> float:
    """Return a score that the pair cannot exceed, without planning it.

    ``haste`` is how many times as fast as its figures say the machine may be.
    """
    quality = entry.quality.get(use, UNKNOWN_QUALITY) * (1 - loss_of(entry, quant.quant))
    if use == "embedding":
        return quality  # there prefill counts
    return quality * speed_factor(haste * most_tps(entry, quant, hardware), use)


def fit_factor(plans: Sequence[DevicePlan], hardware: Hardware) -> float:
    """Return how well the fullest device is used, 0 to 1."""
    return min(_fit(share, cost) for _, share, cost in _shares(plans, hardware))


def explain_fit(plans: Sequence[DevicePlan], hardware: Hardware) -> str:
    """Return the arithmetic of `fit_factor`, for the device that decides."""
    device, share, cost = min(_shares(plans, hardware), key=lambda each: _fit(*each[1:]))
    crowded = f" - {cost:g} x ({share:.4f} - {_EASY_SHARE})" if share > _EASY_SHARE else ""
    return f"1 - {_SHARE_COST} x {share:.4f}{crowded}: share of {device} in use"


def _fit(share: float, cost: float) -> float:
    return max(0.0, 1 - _SHARE_COST * share - cost * max(share - _EASY_SHARE, 0))


def _shares(plans: Sequence[DevicePlan], hardware: Hardware) -> list[tuple[str, float, float]]:
    """Return each device with the share that is used, and what crowding it costs."""
    own = {d.name for d in devices_of(hardware) if d.accelerator is not None and not d.unified}
    return [
        (p.device, p.total / max(p.available, 1), _CARD_COST if p.device in own else _MAIN_COST)
        for p in plans
    ]
