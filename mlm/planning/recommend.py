"""Ranks model and quantization pairs for a machine and a purpose.

score = quality x fit x speed, by the formulas of `mlm.planning.score`. Quality is the catalog's
figure for the purpose (0 to 100, from published benchmarks) less what the quantization costs. What
breaks a hard constraint is out, as is what another pair beats in quality, speed and memory at once.
The reason is kept for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlm.catalog.types import CatalogEntry, Quant, UseCase
from mlm.hardware.types import Hardware
from mlm.planning.calibration import NOTHING_KNOWN, Calibration
from mlm.planning.memory import judge_plans, plan_devices, verdict_of
from mlm.planning.overrides import Overrides
from mlm.planning.placement import devices_of
from mlm.planning.quants import divergence_at_8b
from mlm.planning.recommendation import Ranking, Recommendation, Rejection, Wish
from mlm.planning.runtime import fit_runtime
from mlm.planning.score import UNKNOWN_QUALITY, fit_factor, loss_of, most_score, speed_factor
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import predict_speed
from mlm.units import format_size

# Tokens that one request may use, where nobody said: long chats, larger files, long thoughts.
_DEFAULT_CTX: Mapping[UseCase, int] = {
    "chat": 8192, "code": 16384, "reasoning": 16384, "embedding": 2048, "vision": 8192,
}  # fmt: skip
_LONGER_CTX = (262_144, 131_072, 65_536, 32_768, 16_384)
# With less than four bits (Q3_K_M has 0.084) a model loses more in long answers, in code and in
# other languages than it does on the benchmarks: only where four bits do not fit, or crawl.
_FEW_BITS_DIVERGENCE, _CRAWLS = 0.08, 0.7
_PERMISSIVE = frozenset(("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0"))


def recommend(
    entries: Sequence[CatalogEntry],
    hardware: Hardware,
    wish: Wish,
    top: int = 5,
    calibration: Calibration = NOTHING_KNOWN,
) -> Ranking:
    """Return the pairs that satisfy ``wish``, at most ``top`` and one per model, best first.

    The same arguments always give the same ranking, in whatever order the entries come.
    """
    rejected: list[Rejection] = []
    suited: list[CatalogEntry] = []
    for entry in sorted(entries, key=lambda entry: entry.model_id):
        if reason := find_obstacle(entry, wish):
            rejected.append(Rejection(entry.model_id, None, reason))
        else:
            suited.append(entry)
    # The most promising first: then most models need not be planned at all.
    haste = calibration.fastest()
    promises = {entry.model_id: _promise(entry, hardware, wish, haste) for entry in suited}
    suited.sort(key=lambda entry: -promises[entry.model_id])
    best: list[Recommendation] = []
    kept: list[Recommendation] = []
    for entry in suited:
        promise = promises[entry.model_id]
        if len(kept) >= top and promise <= kept[top - 1].score:
            reason = f"scoring at most {promise:.1f} it cannot be among the best {top}"
            rejected.append(Rejection(entry.model_id, None, reason))
            continue
        winner, losers = compete(entry, hardware, wish, calibration)
        rejected += losers
        if winner is not None:
            best.append(winner)
            kept, _ = _drop_beaten(best)
    kept, beaten = _drop_beaten(best)
    below = [_behind(found, rank, kept[0]) for rank, found in enumerate(kept[top:], top + 1)]
    shown = [replace(found, n_ctx_most=_most_context(found, hardware)) for found in kept[:top]]
    return Ranking(tuple(shown), (*below, *beaten, *rejected))


def _promise(entry: CatalogEntry, hardware: Hardware, wish: Wish, haste: float) -> float:
    """Return a score that no quantization of the model can exceed."""
    return max(most_score(entry, quant, wish.use, hardware, haste) for quant in entry.quants)


def _behind(found: Recommendation, rank: int, first: Recommendation) -> Rejection:
    """Return why a pair that would do is not among those shown."""
    lacks = {
        "lower quality": found.quality / first.quality,
        "slower": found.parts["speed"] / first.parts["speed"],
        "less memory to spare": found.parts["fit"] / first.parts["fit"],
    }
    worst = min(lacks, key=lambda name: lacks[name])
    reason = f"rank {rank}, score {found.score:.1f}: {worst} than {first.label}"
    return Rejection(found.entry.model_id, found.quant.quant, reason)


def _most_context(found: Recommendation, hardware: Hardware) -> int:
    """Return how many tokens a request may have, with all that was chosen left as it is."""
    config, shape = found.config, found.shape
    if shape.embeds:
        return config.n_ctx_slot
    for n_ctx_slot in (shape.n_ctx_train, *_LONGER_CTX):
        if not config.n_ctx_slot < n_ctx_slot <= shape.n_ctx_train:
            continue
        longer = replace(config, n_ctx=n_ctx_slot * config.n_parallel)
        if verdict_of(plan_devices(shape, longer, hardware)) == "fits":
            return n_ctx_slot
    return config.n_ctx_slot


def choose_quant(entry: CatalogEntry, hardware: Hardware) -> Quant:
    """Return the quantization of a model that suits the machine best; the smallest if none fits."""
    # A model that sees may have files without a projector beside them; they talk all the same.
    use: UseCase = next((use for use in entry.use_cases if use != "vision"), "chat")
    winner, _ = compete(entry, hardware, Wish(use), NOTHING_KNOWN)
    return winner.quant if winner else min(entry.quants, key=lambda quant: quant.size_bytes)


def consider(
    entry: CatalogEntry,
    quant: Quant,
    hardware: Hardware,
    wish: Wish,
    calibration: Calibration = NOTHING_KNOWN,
) -> Recommendation | Rejection:
    """Return what comes of one pair alone: its figures, or why it is out."""
    room = sum(device.available for device in devices_of(hardware))
    if quant.size_bytes > room:
        weights, have = format_size(quant.size_bytes), format_size(room)
        return Rejection(entry.model_id, quant.quant, f"its weights alone take {weights} of {have}")
    shape = shape_from_catalog(entry, quant)
    n_ctx_slot = min(wish.n_ctx_slot or _DEFAULT_CTX[wish.use], shape.n_ctx_train)
    overrides = Overrides(n_ctx_slot=n_ctx_slot, n_parallel=wish.users)
    if wish.use != "vision":
        shape = replace(shape, projector=None)
    elif shape.projector is None:
        return Rejection(entry.model_id, quant.quant, "no projector is known for this file")
    fitted = fit_runtime(shape, hardware, overrides)
    config, plans = fitted.config, fitted.plans
    if wish.use == "vision" and not config.vision:
        config = replace(config, vision=True)
        plans = tuple(plan_devices(shape, config, hardware))
    if verdict_of(plans) != "fits":
        reason = judge_plans(shape, config, plans).reasons[0]
        return Rejection(entry.model_id, quant.quant, reason)
    decode, prefill = predict_speed(
        shape, config, hardware, calibration=calibration, model=entry.model_id
    )
    speed = prefill if wish.use == "embedding" else decode
    if wish.min_tps is not None and speed.mid < wish.min_tps:
        reason = f"about {speed.mid:.1f} tokens/s, you asked for {wish.min_tps:g}"
        return Rejection(entry.model_id, quant.quant, reason)
    parts = {
        "quality": entry.quality.get(wish.use, UNKNOWN_QUALITY),
        "quant_loss": loss_of(entry, quant.quant),
        "fit": fit_factor(plans, hardware),
        "speed": speed_factor(speed.mid, wish.use),
    }
    return Recommendation(entry, quant, wish, shape, config, plans, decode, prefill, parts)


def find_obstacle(entry: CatalogEntry, wish: Wish) -> str | None:
    """Return why no quantization of the model will do, on whatever machine; None if one may."""
    if entry.bundled:
        return "it comes with mlm to try things out, and knows nothing else"
    if wish.use not in entry.use_cases:
        return f"it is not made for {wish.use}"
    if wish.use not in entry.quality:
        return f"no published figures say how good it is at {wish.use}"
    if wish.license and not _is_allowed(entry.license, wish.license):
        return f"its licence is {entry.license}, you asked for {wish.license}"
    known = entry.architecture.n_ctx_train
    if wish.n_ctx_slot and known < wish.n_ctx_slot:
        return f"it was trained for {known} tokens, you asked for {wish.n_ctx_slot}"
    return None


def _is_allowed(license: str, wanted: str) -> bool:
    name = license.lower()
    return name in _PERMISSIVE if wanted.lower() == "permissive" else name == wanted.lower()


def compete(
    entry: CatalogEntry, hardware: Hardware, wish: Wish, calibration: Calibration
) -> tuple[Recommendation | None, list[Rejection]]:
    """Return the best pair of a model, and the other pairs with what they lost to."""
    candidates: list[Recommendation] = []
    losers: list[Rejection] = []
    quality = entry.quality.get(wish.use, UNKNOWN_QUALITY)
    for quant in sorted(entry.quants, key=lambda q: (loss_of(entry, q.quant), -q.size_bytes)):
        # The score is at most the quality, so most files of few bits need not be planned at all.
        most = quality * (1 - loss_of(entry, quant.quant))
        best = max(candidates, key=lambda pair: pair.score, default=None)
        if best is not None and most <= best.score:
            losers.append(_rejected(best, quant, f"at most {most:.1f}"))
            continue
        pair = consider(entry, quant, hardware, wish, calibration)
        if isinstance(pair, Recommendation):
            candidates.append(pair)
        else:
            losers.append(pair)
    kept = []
    for pair in candidates:
        if instead := _spared(pair, candidates):
            reason = f"with four bits it fits too ({instead.quant.quant}), and suffers less"
            losers.append(Rejection(entry.model_id, pair.quant.quant, reason))
        else:
            kept.append(pair)
    winner = max(kept, key=lambda pair: (pair.score, pair.quant.size_bytes), default=None)
    if winner is not None:
        losers += [
            _rejected(winner, pair.quant, f"{pair.score:.1f}")
            for pair in kept
            if pair is not winner
        ]
    return winner, losers


def _spared(pair: Recommendation, candidates: Sequence[Recommendation]) -> Recommendation | None:
    """Return the pair that makes one with few bits unnecessary: nearly as fast, of four or more."""
    if divergence_at_8b(pair.quant.quant) < _FEW_BITS_DIVERGENCE:
        return None
    better = (
        other
        for other in candidates
        if divergence_at_8b(other.quant.quant) < _FEW_BITS_DIVERGENCE
        and other.speed.mid >= _CRAWLS * pair.speed.mid
    )
    return next(better, None)


def _rejected(winner: Recommendation, quant: Quant, score: str) -> Rejection:
    reason = f"{winner.quant.quant} scores {winner.score:.1f}, this {score}"
    return Rejection(winner.entry.model_id, quant.quant, reason)


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
