"""What planning decides: a runtime config, what it will occupy, and how fast it will be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mlm.planning.overrides import FlashAttention, ResponseCachePolicy

if TYPE_CHECKING:
    from mlm.planning.graph.layers import GraphFacts

FEW_TOKENS = 64  # that an embedding model computes in one go, with results for each of them
TIGHT_SHARE = 0.95  # of what is available

Grade = Literal["exact", "computed", "estimated"]
Verdict = Literal["fits", "tight", "does_not_fit"]
Pooling = Literal["auto", "mean", "cls", "last"]  # auto: as the file says
ProfileName = Literal["low-resource", "balanced", "high-performance", "production"]


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The exact parameters with which a worker loads a model, each with its reason.

    ``n_ctx`` is the whole context; one request may use ``n_ctx_slot`` of it.
    """

    n_ctx: int
    n_parallel: int  # number of slots, llama.cpp's n_seq_max
    n_batch: int
    n_ubatch: int
    n_gpu_layers: int  # a real count: 0 = all on the CPU, n_layer + 1 = everything offloaded
    n_threads: int  # decode
    n_threads_batch: int  # prefill
    n_cpu_moe: int = 0  # of the first so many layers, the experts stay in main memory
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: FlashAttention = "auto"
    kv_unified: bool = False
    swa_full: bool = False
    use_mmap: bool = True
    use_mlock: bool = False
    embedding: bool = False  # the model makes vectors or scores, no text
    vision: bool = True  # with the projector that lies beside the file, so that it takes pictures
    pooling: Pooling = "auto"  # how a vector is drawn from those of the tokens
    prefix_cache: int = 0  # bytes of main memory for what earlier requests computed; 0 = off
    response_cache: ResponseCachePolicy = "deterministic"
    cache_ttl_s: int = 86_400  # for so long a kept answer is good
    max_tokens: int | None = None  # default for requests that do not say; None = to the end of slot
    profile: ProfileName = "balanced"  # what it was planned from
    reasons: Mapping[str, str] = field(default_factory=dict)  # field -> why it has this value

    @property
    def n_ctx_slot(self) -> int:
        """Tokens that one request may use, prompt and answer together; or one input of several."""
        return self.n_ctx if self.embedding else self.n_ctx // self.n_parallel

    @property
    def sees(self) -> bool:
        """Whether a projector is loaded, if there is one; pictures become no vectors."""
        return self.vision and not self.embedding

    @property
    def n_outputs_max(self) -> int:
        """Rows of results to reserve: one per slot; more only wastes memory.

        A model that has to see an input whole has a row for each of its tokens; of others all but
        the last are read without (`mlm.engine.llama.embedding`).
        """
        if not self.embedding:
            return self.n_parallel
        return self.n_batch if self.n_ubatch == self.n_batch else max(self.n_parallel, FEW_TOKENS)


@dataclass(frozen=True, slots=True)
class ContextBuffers:
    """What llama.cpp says that a context takes besides weights, in bytes."""

    kv_cache: int  # recurrent state included; on all devices together
    compute: Mapping[str, int]  # by llama.cpp's name of the place: CPU, CUDA0, CUDA_Host
    output: int


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What one device will hold, in bytes. ``kv_cache`` is the worst case: every slot full."""

    device: str  # "cpu", "cuda0" …
    weights: int
    kv_cache: int
    compute: int
    output: int
    repack: int  # CPU only: second copy of weights in the layout of the CPU's kernels
    overhead: int  # process, runtime, CUDA context
    available: int

    @property
    def total(self) -> int:
        """Everything added up."""
        parts = (self.weights, self.kv_cache, self.compute, self.output, self.repack)
        return sum(parts) + self.overhead

    @property
    def headroom(self) -> int:
        """Bytes left over; negative when it does not fit."""
        return self.available - self.total

    @property
    def is_tight(self) -> bool:
        """Whether so little is left that other programs may push the model out."""
        return self.total > TIGHT_SHARE * self.available


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a loaded model will occupy, per device, and how far to trust the figure."""

    grade: Grade
    devices: tuple[DevicePlan, ...]
    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def total(self) -> int:
        """Bytes over all devices."""
        return sum(device.total for device in self.devices)


@dataclass(frozen=True, slots=True)
class SpeedInterval:
    """Tokens per second: never a bare number."""

    low: float
    mid: float
    high: float


Role = Literal["lookup", "matrix", "experts", "other"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a model. ``role`` says how it is used.

    ``lookup`` tensors (token embeddings) are read one row per token; ``matrix`` tensors whole;
    of ``experts`` only those that the router picks.
    """

    role: Role
    type_name: str  # Q4_K, F32 …
    row: int  # elements per row
    rows: int
    n_bytes: int
    start: int | None = None  # place of its first byte among the model's data; None: not known


@dataclass(frozen=True, slots=True)
class Block:
    """One layer: its weights, and what it keeps per token and per sequence."""

    weights: tuple[Weight, ...]
    k: int  # elements of K per token; 0 without a KV cache
    v: int
    sliding: bool = False  # keeps only the window
    state: int = 0  # bytes per sequence of recurrent state


@dataclass(frozen=True, slots=True)
class Projector:
    """What a model sees with: a file of its own beside the weights. Sizes are bytes."""

    weights: int
    compute: int  # most that encoding one picture takes
    is_known: bool  # … by its header; else guessed from the size of the file


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What planning needs to know of a model, from its header or from the catalog."""

    grade: Grade  # of a plan made from it
    architecture: str
    quant: str | None
    n_embd: int
    n_head: int
    n_q: int  # elements of the queries of one token: heads x head size
    n_ff: int  # elements inside the feed-forward part for one token: of all experts it uses
    is_gated: bool  # the feed-forward part has a gate beside it, as wide
    n_inner: int  # elements inside a recurrent layer for one token; 0 without such layers
    n_vocab: int
    n_ctx_train: int
    n_expert: int
    n_expert_used: int
    sliding_window: int | None
    is_encoder: bool
    embeds: bool  # it makes vectors or scores: all encoders, and decoders that say so
    reads_in_pieces: bool  # … from the last token, so that an input need not be seen whole
    pooling: Pooling  # what a config has to say of it; auto: the file says it
    input: tuple[Weight, ...]
    blocks: tuple[Block, ...]
    output: tuple[Weight, ...]
    disk_bytes: int
    params: int
    params_active: int
    notes: tuple[str, ...] = ()  # what makes a plan less certain
    is_known: bool = True  # the architecture; else its speed is anybody's guess
    projector: Projector | None = None  # what it would be loaded with
    graph: "GraphFacts | None" = field(default=None, repr=False, compare=False)  # from a header
    # The blocks by identity, with their number: those of an estimate are very few objects.
    kinds: Mapping[int, tuple[Block, int]] = field(init=False, repr=False, compare=False)

    @property
    def n_layer(self) -> int:
        """Layers, without input and output."""
        return len(self.blocks)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", count_blocks(self.blocks))


def count_blocks(blocks: Sequence[Block]) -> Mapping[int, tuple[Block, int]]:
    """Return the blocks by identity, each object once, with their number."""
    found = {id(block): block for block in blocks}
    return {key: (found[key], count) for key, count in Counter(map(id, blocks)).items()}
