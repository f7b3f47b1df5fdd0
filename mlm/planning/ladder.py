"""What a runtime config may be tried with, best first; the first that fits is taken."""

from collections.abc import Iterator
from dataclasses import dataclass

from mlm.planning.overrides import Overrides
from mlm.planning.profiles import Profile
from mlm.planning.types import ModelShape, RuntimeConfig

_SHORTEST_USEFUL_CTX = 4096  # a question about a page or two, and its answer
_SHORT_CTX = (2048, 1024, 512)
N_UBATCH, N_UBATCH_LEAST = 512, 128  # llama.cpp's own default; a quarter of its compute buffer
# Embedding models: no input is longer unless that is asked for, and so many are read at a time.
LONGEST_INPUT, _SHORTEST_INPUT, _INPUTS = 8192, 512, 32


@dataclass(frozen=True, slots=True)
class Choice:
    """What memory decides about; the rest of a config follows from the machine."""

    n_ctx_slot: int
    n_parallel: int
    type_kv: str
    use_mmap: bool = True
    n_ubatch: int = N_UBATCH
    is_useful: bool = True  # long enough for what the profile is for

    def differs_in_mapping_only(self, config: RuntimeConfig) -> bool:
        """Whether ``config`` is the same but for how the file is read."""
        sizes = (self.n_ctx_slot, self.n_parallel, self.type_kv)
        return sizes == (config.n_ctx_slot, config.n_parallel, config.type_k)


def embedding_choices(shape: ModelShape, overrides: Overrides) -> Iterator[Choice]:
    """Yield what to try for a model that makes vectors: the longest input, then shorter ones."""
    n_parallel = overrides.n_parallel or _INPUTS
    if overrides.n_ctx_slot:
        yield Choice(overrides.n_ctx_slot, n_parallel, "f16")
        return
    longest = min(shape.n_ctx_train, LONGEST_INPUT)
    for n_ctx_slot in _halvings(longest, min(longest, _SHORTEST_INPUT)):
        yield Choice(n_ctx_slot, n_parallel, "f16", is_useful=n_ctx_slot == longest)


def choices(shape: ModelShape, overrides: Overrides, profile: Profile) -> Iterator[Choice]:
    """Yield what to try. Each step gives up what hurts least: context, then slots, then both."""
    slots = [overrides.n_parallel] if overrides.n_parallel else _halvings(profile.n_parallel, 1)
    contexts, long, short = _contexts(shape, overrides, profile)
    type_kv = profile.type_kv
    for ctx in long:
        yield Choice(ctx, slots[0], type_kv)
    for n_parallel in slots:
        for ctx in contexts:
            yield Choice(ctx, n_parallel, type_kv)
            yield Choice(ctx, n_parallel, type_kv, use_mmap=False)
    last = slots[-1]
    is_free = overrides.type_k is None and overrides.type_v is None
    if is_free and type_kv == "f16" and overrides.flash_attn != "off":
        yield Choice(contexts[-1], last, "q8_0", use_mmap=False)
    for ctx in short:
        yield Choice(ctx, last, type_kv, use_mmap=False, is_useful=False)
    if overrides.n_batch is None and overrides.n_ubatch is None:
        ctx = short[-1] if short else contexts[-1]
        yield Choice(ctx, last, type_kv, use_mmap=False, n_ubatch=N_UBATCH_LEAST, is_useful=False)


def _contexts(
    shape: ModelShape, overrides: Overrides, profile: Profile
) -> tuple[list[int], list[int], list[int]]:
    """Return the contexts to try, longer ones where they are cheap, and those of last resort."""
    if overrides.n_ctx_slot:
        return [overrides.n_ctx_slot], [], []
    wanted = _halvings(profile.n_ctx_slot, min(profile.n_ctx_slot, _SHORTEST_USEFUL_CTX))
    longer = [n for n in _halvings(profile.n_ctx_most, 1) if n > profile.n_ctx_slot]
    shorter = [n for n in _SHORT_CTX if n < wanted[-1]]
    limit = shape.n_ctx_train
    contexts = _within(limit, wanted) or [limit]
    return contexts, _within(limit, longer), _within(limit, shorter)


def _halvings(start: int, least: int) -> list[int]:
    """Return ``start``, half of it and so on, none below ``least``."""
    found = [start]
    while found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return found


def _within(n_ctx_train: int, sizes: list[int]) -> list[int]:
    """Return the sizes that the model was trained for; its own limit replaces a larger one."""
    fitting = [size for size in sizes if size <= n_ctx_train]
    if sizes and sizes[-1] < n_ctx_train < sizes[0]:
        return [n_ctx_train, *fitting]
    return fitting
