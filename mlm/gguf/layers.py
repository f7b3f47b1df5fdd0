"""Which layers of a model attend to everything, to a window, or keep a recurrent state.

The rules are those by which llama.cpp fills its hyperparameters (``src/models/*.cpp``,
``llama-hparams.cpp`` and ``create_memory`` of the llama.cpp inside llama-cpp-python 0.3.36).
"""

from dataclasses import dataclass

from mlm.gguf.keys import Keys

# No KV cache at all: encoders, and diffusion models, which see the whole text at every step.
ENCODERS = frozenset((
    "bert", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada",
    "llada-moe", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1",
    "wavtokenizer-dec",
))  # fmt: skip
RECURRENT = frozenset(("arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"))
# Recurrent in the layers without KV heads …
_RECURRENT_WITHOUT_KV_HEADS = frozenset((
    "bailingmoe3", "granitehybrid", "jamba", "kimi-k3", "kimi-linear", "lfm2", "lfm2moe", "plamo2",
))  # fmt: skip
# … or in all but every n-th layer.
_RECURRENT_EXCEPT_EVERY = {
    "minimax-01": 8, "qwen35": 4, "qwen35moe": 4, "qwen3next": 4,
}  # fmt: skip

# Sliding window by default in all but every n-th layer; the file may hold another pattern.
_SLIDING_EXCEPT_EVERY = {
    "afmoe": 4, "cohere2": 4, "cohere2moe": 4, "exaone-moe": 4, "exaone4": 4,
    "gemma-embedding": 6, "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "laguna": 4,
    "llama4": 4, "mellum": 4, "modern-bert": 3, "muse-glimmer": 4, "olmo2": 4, "plamo3": 8,
    "smallthinker": 4,
}  # fmt: skip
# The file has to list the layers; the pattern is that of the published models.
_SLIDING_BY_LIST = {
    "gemma4": 6, "granite_swa": 4, "maple": 4, "mimo2": 6, "spark2_5": 4, "step35": 4,
}  # fmt: skip
_DENSE_FIRST = frozenset(("cohere2moe", "laguna", "modern-bert", "smallthinker"))
_WINDOW_BY_DEFAULT = {"exaone4": 4096, "gemma2": 4096, "llama4": 8192}
_WINDOW_FIXED = {"llama4": 8192, "smallthinker": 4096}  # whatever the file says
_GEMMA3N_LAYERS_WITH_KV = 20


@dataclass(frozen=True, slots=True)
class Layers:
    """What each layer keeps; tuples have one item per layer."""

    sliding_window: int | None
    is_sliding: tuple[bool, ...]
    is_recurrent: tuple[bool, ...]
    has_kv: tuple[bool, ...]


def describe_layers(
    keys: Keys, n_layer: int, n_layer_nextn: int, n_head_kv: tuple[int, ...], n_ff: tuple[int, ...]
) -> Layers:
    """Return what each of the ``n_layer`` layers keeps."""
    used = n_layer - n_layer_nextn
    recurrent = _recurrent(keys, used, n_head_kv, n_ff)
    window, sliding = _sliding(keys, used, recurrent)
    has_kv = _with_kv(keys, used, recurrent, n_ff)
    unused = (False,) * n_layer_nextn
    return Layers(window, sliding + unused, recurrent + unused, has_kv + unused)


def _recurrent(
    keys: Keys, n_layer: int, n_head_kv: tuple[int, ...], n_ff: tuple[int, ...]
) -> tuple[bool, ...]:
    name = keys.architecture
    if name in RECURRENT or name == "falcon-h1":
        return (True,) * n_layer
    if name in _RECURRENT_WITHOUT_KV_HEADS:
        return tuple(n_head_kv[i] == 0 for i in range(n_layer))
    if name.startswith("nemotron_h"):
        return tuple(n_head_kv[i] == 0 and n_ff[i] == 0 for i in range(n_layer))
    if name in _RECURRENT_EXCEPT_EVERY:
        interval = keys.count("full_attention_interval", _RECURRENT_EXCEPT_EVERY[name]) or 1
        pattern = tuple(int((i + 1) % interval != 0) for i in range(n_layer))
        listed = keys.per_layer("attention.recurrent_layers", n_layer, pattern)
        return tuple(bool(item) for item in listed)
    return (False,) * n_layer


def _sliding(
    keys: Keys, n_layer: int, recurrent: tuple[bool, ...]
) -> tuple[int | None, tuple[bool, ...]]:
    """Return the window and the layers that have it."""
    nowhere = (False,) * n_layer
    name = keys.architecture
    window = keys.count("attention.sliding_window", _WINDOW_BY_DEFAULT.get(name, 0))
    if window:
        window = _WINDOW_FIXED.get(name, window)
    if not window or (name == "exaone4" and n_layer != 64):
        return None, nowhere
    if name == "lfm2":
        return window, tuple(not state for state in recurrent)
    pattern = keys.get("attention.sliding_window_pattern")
    every = (_SLIDING_EXCEPT_EVERY | _SLIDING_BY_LIST).get(name)
    if every is None:
        return None, nowhere  # as in phi3 and mistral, where llama.cpp ignores the window
    if isinstance(pattern, tuple):
        listed = keys.per_layer("attention.sliding_window_pattern", n_layer, (0,) * n_layer)
        return window, tuple(bool(item) for item in listed)
    every = keys.count("attention.sliding_window_pattern", every)
    return window, _all_but_every(every, n_layer, dense_first=name in _DENSE_FIRST)


def _all_but_every(every: int, n_layer: int, *, dense_first: bool) -> tuple[bool, ...]:
    if every == 0:
        return (True,) * n_layer
    dense = 0 if dense_first else every - 1
    return tuple(i % every != dense for i in range(n_layer))


def _with_kv(
    keys: Keys, n_layer: int, recurrent: tuple[bool, ...], n_ff: tuple[int, ...]
) -> tuple[bool, ...]:
    name = keys.architecture
    if name in ENCODERS or name in RECURRENT:
        return (False,) * n_layer
    if name == "falcon-h1":
        return (True,) * n_layer
    if name.startswith("nemotron_h"):
        return tuple(not recurrent[i] and n_ff[i] == 0 for i in range(n_layer))
    own = n_layer
    if name == "gemma3n":
        own = _GEMMA3N_LAYERS_WITH_KV  # the later ones use the cache of an earlier one
    elif name == "gemma4":
        own = n_layer - keys.count("attention.shared_kv_layers", 0)
    return tuple(i < own and not recurrent[i] for i in range(n_layer))


def recurrent_state(keys: Keys, n_embd: int, n_head: int) -> tuple[int, int]:
    """Return the 32-bit elements of (convolution state, state) per recurrent layer and sequence."""
    if head := keys.count("wkv.head_size", 0):
        return keys.count("token_shift_count", 2) * n_embd, n_embd * head
    if cache := keys.count("shortconv.l_cache", 0):
        return n_embd * (cache - 1), 0
    kernel = keys.count("ssm.conv_kernel", 0)
    if head := keys.count("kda.head_dim", 0):
        return 3 * (kernel - 1 if kernel else 3) * n_head * head, head * head * n_head
    if keys.architecture == "minimax-01":
        head = keys.count("attention.key_length", n_embd // max(n_head, 1))
        return 0, head * head * n_head
    inner, state = keys.count("ssm.inner_size", 0), keys.count("ssm.state_size", 0)
    groups = keys.count("ssm.group_count", 0)
    return max(kernel - 1, 0) * (inner + 2 * groups * state), state * inner
