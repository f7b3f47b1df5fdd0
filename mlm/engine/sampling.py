"""Which of llama.cpp's samplers a request needs, and in which order. Pure: nothing native here."""

import math
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from mlm.engine.messages import SamplingParams

Stage = tuple[str, tuple[Any, ...]]  # a sampler's name in llama.cpp, and its arguments

_INT_MAX = 2**31 - 1
_MIROSTAT_V1_TOKENS = 100  # how many tokens the paper's estimate looks at (llama.cpp's default)
MAX_BREAKERS, MAX_BREAKER_BYTES = 16, 40  # each is looked for in the whole vocabulary; cut at 40
# llama.cpp's typical sampling computes with NaN when a candidate has no probability at all.
_ALMOST_NOTHING = 1e-30
# Allow-list: what llama.cpp computes sensibly with. Beyond these it may divide by zero, allocate
# by the gigabyte, or abort.
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_k": (0, _INT_MAX),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "repeat_penalty": (0.01, 100),
    "repeat_last_n": (-1, _INT_MAX),
    "frequency_penalty": (-100, 100),
    "presence_penalty": (-100, 100),
    "dry_multiplier": (0, 100),
    "dry_base": (0, 100),
    "dry_allowed_length": (0, _INT_MAX),
    "dry_penalty_last_n": (-1, _INT_MAX),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "mirostat": (0, 2),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 10),
    "min_tokens": (0, _INT_MAX),
    "top_n_sigma": (-1, 100),
    "dynatemp_range": (0, 100),
    "dynatemp_exponent": (0, 100),
}


def check_ranges(params: SamplingParams, n_vocab: int) -> None:
    """Return if every parameter is one that llama.cpp can work with.

    Raises:
        ValueError: one is not; the text names it and its range.
    """
    for name, (low, high) in _RANGES.items():
        value = getattr(params, name)
        if not low <= value <= high:  # false for NaN too
            raise ValueError(f"{name} must be between {low} and {high}, not {value}")
    for token, bias in params.logit_bias.items():
        if not 0 <= token < n_vocab:
            raise ValueError(f"logit_bias: there is no token {token}; this model has {n_vocab}")
        if not math.isfinite(bias):
            raise ValueError(f"logit_bias of token {token} must be a finite number")
    check_breakers(params.dry_sequence_breakers)


def check_breakers(breakers: Sequence[str]) -> None:
    """Return if llama.cpp can look for ``breakers`` as they are.

    Raises:
        ValueError: it cannot.
    """
    sizes = [len(text.encode("utf-8", "replace")) for text in breakers]
    if len(sizes) > MAX_BREAKERS or not all(0 < size <= MAX_BREAKER_BYTES for size in sizes):
        raise ValueError(
            f"at most {MAX_BREAKERS} sequence breakers, each of 1 to {MAX_BREAKER_BYTES} bytes"
        )
    if any("\0" in text for text in breakers):
        raise ValueError("a sequence breaker holds a NUL, where llama.cpp would stop reading")


def plan_stages(
    params: SamplingParams,
    *,
    end_tokens: Collection[int],
    suppressed_tokens: Collection[int],
    n_ctx_slot: int,
) -> list[Stage]:
    """Return the chain for ``params``, in llama.cpp's own order.

    With ``min_tokens``, the first stage forbids the end of the answer and is dropped later; with
    ``ignore_eos`` the ban stays.
    """
    seed = choose_seed(params.seed)
    stages: list[Stage] = []
    if forbids_end(params):
        stages.append(_ban(end_tokens))
    if suppressed_tokens:
        stages.append(_ban(suppressed_tokens))
    if params.logit_bias:
        stages.append(("logit_bias", (tuple(params.logit_bias.items()),)))
    if params.mirostat:
        return [*stages, *_mirostat(params, seed)]
    return [
        *stages,
        *_penalties(params, n_ctx_slot),
        *_filters(params, seed),
        *_choice(params, seed),
    ]


def forbids_end(params: SamplingParams) -> bool:
    """Return whether the answer must not end yet when it begins."""
    return params.ignore_eos or params.min_tokens > 0


def choose_seed(seed: int | None) -> int:
    """Return a seed for llama.cpp, where 2^32 - 1 would mean "any" and must never come out."""
    return (secrets.randbits(32) if seed is None else seed) % (2**32 - 1)


def remembered_tokens(params: SamplingParams, n_ctx_slot: int) -> int:
    """Return how many tokens of the prompt the samplers look back on."""
    looks_back = [0]
    if _penalises(params):
        looks_back.append(_span(params.repeat_last_n, n_ctx_slot))
    if params.dry_multiplier:
        looks_back.append(_span(params.dry_penalty_last_n, n_ctx_slot))
    return max(looks_back)


def _ban(tokens: Collection[int]) -> Stage:
    return ("logit_bias", (tuple((token, -math.inf) for token in sorted(tokens)),))


def _mirostat(params: SamplingParams, seed: int) -> list[Stage]:
    tau, eta = params.mirostat_tau, params.mirostat_eta
    last: Stage = ("mirostat_v2", (seed, tau, eta))
    if params.mirostat == 1:
        last = ("mirostat", (seed, tau, eta, _MIROSTAT_V1_TOKENS))
    return [("temp", (params.temperature,)), last]


def _penalties(params: SamplingParams, n_ctx_slot: int) -> list[Stage]:
    stages: list[Stage] = []
    if _penalises(params):
        last_n = _span(params.repeat_last_n, n_ctx_slot)
        weights = (params.repeat_penalty, params.frequency_penalty, params.presence_penalty)
        stages.append(("penalties", (last_n, *weights)))
    if params.dry_multiplier:
        last_n = _span(params.dry_penalty_last_n, n_ctx_slot)
        numbers = (params.dry_multiplier, params.dry_base, params.dry_allowed_length, last_n)
        stages.append(("dry", (*numbers, params.dry_sequence_breakers)))
    return stages


def _filters(params: SamplingParams, seed: int) -> list[Stage]:
    """Return the samplers that narrow the choice; each keeps at least one token."""
    is_greedy = params.temperature == 0  # then those that always keep the likeliest do nothing
    stages: list[Stage] = []
    if params.top_n_sigma > 0 and not is_greedy:
        stages.append(("top_n_sigma", (params.top_n_sigma,)))
    if params.top_k > 0 and not is_greedy:
        stages.append(("top_k", (params.top_k,)))
    if params.typical_p < 1:
        stages.append(("min_p", (_ALMOST_NOTHING, 1)))
        stages.append(("typical", (params.typical_p, 1)))
    if params.top_p < 1 and not is_greedy:
        stages.append(("top_p", (params.top_p, 1)))
    if params.min_p > 0 and not is_greedy:
        stages.append(("min_p", (params.min_p, 1)))
    if params.xtc_probability > 0:
        stages.append(("xtc", (params.xtc_probability, params.xtc_threshold, 1, seed)))
    return stages


def _choice(params: SamplingParams, seed: int) -> list[Stage]:
    if params.temperature == 0:
        return [("greedy", ())]
    if params.dynatemp_range > 0:
        span = (params.dynatemp_range, params.dynatemp_exponent)
        return [("temp_ext", (params.temperature, *span)), ("dist", (seed,))]
    return [("temp", (params.temperature,)), ("dist", (seed,))]


def _penalises(params: SamplingParams) -> bool:
    plain = (params.repeat_penalty, params.frequency_penalty, params.presence_penalty) == (1, 0, 0)
    return not plain and params.repeat_last_n != 0


def _span(last_n: int, n_ctx_slot: int) -> int:
    """Return how far back to look: -1 means everything; more than a slot holds is pointless."""
    return n_ctx_slot if last_n < 0 else min(last_n, n_ctx_slot)
