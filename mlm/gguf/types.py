"""What a GGUF header says. Sizes are bytes; what the file does not say is None."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

TOKENS = "tokenizer.ggml.tokens"
POOLING_MEAN, POOLING_LAST, POOLING_RANK = 1, 3, 4  # enum llama_pooling_type

Value = str | int | float | bool | tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table."""

    name: str
    shape: tuple[int, ...]  # as ggml has it: the fastest-varying dimension first
    type_name: str  # Q4_K, F32 …
    n_bytes: int
    offset: int  # from the start of the tensor data; in a later shard plus all shards before it

    @property
    def n_elements(self) -> int:
        """Numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """A validated header of any GGUF file, a model or not.

    Every count, length and offset has been checked against the file.
    """

    version: int
    values: Mapping[str, Value]  # every key; long arrays and very long strings are left out
    array_lengths: Mapping[str, int]  # of every array
    tensors: tuple[TensorInfo, ...]
    header_bytes: int  # up to the first byte of tensor data
    file_size: int


@dataclass(frozen=True, slots=True)
class GGUFMetadata:
    """What the header says of a language model, validated.

    Per-layer tuples have ``n_layer`` items.
    """

    architecture: str  # general.architecture
    name: str | None
    quant: str | None  # from general.file_type, in the uploader's spelling: Q4_K_M
    n_layer: int
    n_embd: int
    n_head: tuple[int, ...]  # per layer
    n_head_kv: tuple[int, ...]  # per layer; 0 where a layer has no attention
    head_dim_k: int
    head_dim_v: int
    n_ff: int | None
    n_vocab: int
    n_ctx_train: int
    n_expert: int
    n_expert_used: int
    sliding_window: int | None
    pooling_type: int | None  # encoders and embedding models
    chat_template: str | None
    tokenizer_model: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    split_count: int
    params: int  # elements of all tensors
    tensors: tuple[TensorInfo, ...]
    values: Mapping[str, Value]  # every key; arrays longer than 512 items are left out
    array_lengths: Mapping[str, int]  # of every array
    header_bytes: int  # up to the first byte of tensor data
    file_size: int  # of all shards together
    n_layer_nextn: int = 0  # trailing layers for multi-token prediction, not used in plain decoding
    has_kv: tuple[bool, ...] = ()  # per layer: keeps a KV cache of its own
    is_sliding: tuple[bool, ...] = ()  # per layer: attends to a sliding window only
    is_recurrent: tuple[bool, ...] = ()  # per layer: keeps a recurrent state
    head_dim_k_swa: int = 0  # in sliding layers
    head_dim_v_swa: int = 0
    is_mla: bool = False  # multi-head latent attention: one compressed K per layer, no V
    state_r: int = 0  # 32-bit elements of convolution state per recurrent layer and sequence
    state_s: int = 0  # the same of the state proper
    is_encoder: bool = False  # no KV cache and no generation: BERT and its kin
    causal: bool = True

    @property
    def has_vocabulary(self) -> bool:
        """Whether text can become tokens; llama.cpp's own names for "no" are among the models."""
        is_named = self.tokenizer_model not in (None, "none", "no_vocab")
        return is_named and bool(self.array_lengths.get(TOKENS))

    @property
    def embeds(self) -> bool:
        """Whether the model is for vectors or scores, not for text."""
        return self.is_encoder or bool(self.pooling_type)

    @property
    def reads_in_pieces(self) -> bool:
        """Whether a vector is drawn from the last token alone, so that an input may be read bit by
        bit; otherwise it has to be seen whole."""
        return self.causal and self.pooling_type in (POOLING_LAST, POOLING_RANK)
