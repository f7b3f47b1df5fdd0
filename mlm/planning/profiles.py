"""Sets of wishes for a runtime config, each for one way of using a machine.

A profile fixes what memory and answers depend on; everything else follows from the machine. What
does not fit is given up openly: see `mlm.planning.runtime`.
"""

from dataclasses import dataclass

from mlm.planning.overrides import KvType
from mlm.planning.types import ProfileName

_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Profile:
    """What a config should be like if the machine allows it."""

    name: ProfileName
    purpose: str
    enough_for: str  # what its context is enough for
    n_ctx_slot: int  # tokens that one request may use
    n_ctx_most: int  # … and as many where their cache is cheap
    n_parallel: int
    type_kv: KvType
    max_tokens: int | None
    cache_ttl_s: int
    use_mlock: bool = False  # where it is allowed and memory is ample


PROFILES: dict[ProfileName, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "low-resource", "one person beside other programs", "enough for short chats",
            n_ctx_slot=2048, n_ctx_most=2048, n_parallel=1, type_kv="q8_0", max_tokens=512,
            cache_ttl_s=7 * 24 * _HOUR_S,
        ),
        Profile(
            "balanced", "a person or a few, on a machine that does other things too",
            "enough for long chats",
            n_ctx_slot=8192, n_ctx_most=32_768, n_parallel=4, type_kv="f16", max_tokens=None,
            cache_ttl_s=24 * _HOUR_S,
        ),
        Profile(
            "high-performance", "long documents and code, on a machine that does little else",
            "enough for long documents",
            n_ctx_slot=32_768, n_ctx_most=32_768, n_parallel=4, type_kv="f16", max_tokens=4096,
            cache_ttl_s=24 * _HOUR_S,
        ),
        Profile(
            "production", "many users of a server that runs unattended", "enough for long chats",
            n_ctx_slot=8192, n_ctx_most=8192, n_parallel=16, type_kv="q8_0", max_tokens=2048,
            cache_ttl_s=_HOUR_S, use_mlock=True,
        ),
    )
}  # fmt: skip
BALANCED = PROFILES["balanced"]
