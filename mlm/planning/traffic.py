"""What one token needs of a model: which weights, and how much of the KV cache."""

from dataclasses import dataclass

from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.planning.types import Block, ModelShape, RuntimeConfig, Weight


@dataclass(frozen=True, slots=True)
class Seconds:
    """The time for one token, in decode or in prefill, and what it goes to."""

    weights: float  # and all else that does not depend on the context
    attention: float  # over the KV cache

    @property
    def total(self) -> float:
        """Both together."""
        return self.weights + self.attention

    @property
    def attention_share(self) -> float:
        """How much of it attention takes, 0 to 1."""
        return self.attention / self.total if self.total else 0.0

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.weights + other.weights, self.attention + other.attention)


def used_share(weight: Weight, shape: ModelShape) -> float:
    """Return how much of a tensor one token is multiplied with: of experts those it picks."""
    if weight.role == "experts" and shape.n_expert:
        return shape.n_expert_used / shape.n_expert
    return 1.0 if weight.role in ("matrix", "experts") else 0.0


def seen_tokens(block: Block, shape: ModelShape, config: RuntimeConfig, n_past: int) -> int:
    """Return how many of ``n_past`` tokens a layer looks at."""
    seen = min(n_past, config.n_ctx_slot)
    if block.sliding and shape.sliding_window is not None:
        return min(seen, shape.sliding_window)
    return seen


def cache_bytes(block: Block, config: RuntimeConfig) -> float:
    """Return what the KV cache of a layer holds per token."""
    halves = ((config.type_k, block.k), (config.type_v, block.v))
    kinds = [(TYPES_BY_NAME[name.upper()], elements) for name, elements in halves]
    return sum(elements * kind.n_bytes / kind.block for kind, elements in kinds)


def elements(weight: Weight) -> float:
    """Return the numbers in a tensor, from its bytes: of an estimate, these are surer."""
    kind = TYPES_BY_NAME[weight.type_name]
    return weight.n_bytes / kind.n_bytes * kind.block
