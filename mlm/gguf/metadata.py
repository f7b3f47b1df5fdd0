"""Turns a validated header into the facts about a language model that the rest of mlm uses."""

from collections.abc import Mapping

from mlm.gguf.errors import GGUFError
from mlm.gguf.ggml_types import FILE_TYPES
from mlm.gguf.keys import Keys, as_count
from mlm.gguf.layers import ENCODERS, describe_layers, recurrent_state
from mlm.gguf.types import TOKENS, GGUFHeader, GGUFMetadata, Value

MAX_LAYERS = 512  # llama.cpp's LLAMA_MAX_LAYERS
_OTHER_KINDS = {
    "adapter": "an adapter (LoRA) for another model",
    "imatrix": "an importance matrix for quantizing",
    "mmproj": "the vision or audio part (mmproj) of another model",
}
# Read by index for every token, so llama.cpp refuses files in which they are shorter.
_PER_TOKEN = ("tokenizer.ggml.scores", "tokenizer.ggml.token_type")


def describe_model(header: GGUFHeader) -> GGUFMetadata:
    """Return what ``header`` says of its model.

    Raises:
        GGUFError: it is not the header of a language model, or it contradicts itself.
    """
    values = header.values
    keys = Keys(_architecture(values), values)
    n_layer, nextn = _count_layers(keys)
    n_embd = keys.count("embedding_length")
    n_head = keys.per_layer("attention.head_count", n_layer, (0,) * n_layer)
    n_head_kv = keys.per_layer("attention.head_count_kv", n_layer, n_head)
    n_ff = keys.per_layer("feed_forward_length", n_layer, (0,) * n_layer)
    layers = describe_layers(keys, n_layer, nextn, n_head_kv, n_ff)
    head_dim_k, head_dim_v = _head_sizes(keys, n_embd, n_head)
    state_r, state_s = recurrent_state(keys, n_embd, n_head[0])
    is_encoder = keys.architecture in ENCODERS
    return GGUFMetadata(
        architecture=keys.architecture,
        name=_text(values, "general.name"),
        quant=_quant(values),
        n_layer=n_layer,
        n_embd=n_embd,
        n_head=n_head,
        n_head_kv=n_head_kv,
        head_dim_k=head_dim_k,
        head_dim_v=head_dim_v,
        n_ff=max(n_ff) or None,
        n_vocab=_n_vocab(header, keys),
        n_ctx_train=keys.count("context_length"),
        n_expert=keys.count("expert_count", 0),
        n_expert_used=max(keys.per_layer("expert_used_count", n_layer, (0,))),
        sliding_window=layers.sliding_window,
        pooling_type=keys.count("pooling_type") if keys.has("pooling_type") else None,
        chat_template=_text(values, "tokenizer.chat_template"),
        tokenizer_model=_text(values, "tokenizer.ggml.model"),
        bos_token_id=_token_id(values, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_token_id(values, "tokenizer.ggml.eos_token_id"),
        split_count=as_count(values.get("split.count", 1), "split.count") or 1,
        params=sum(tensor.n_elements for tensor in header.tensors),
        tensors=header.tensors,
        values=values,
        array_lengths=header.array_lengths,
        header_bytes=header.header_bytes,
        file_size=header.file_size,
        n_layer_nextn=nextn,
        has_kv=layers.has_kv,
        is_sliding=layers.is_sliding,
        is_recurrent=layers.is_recurrent,
        head_dim_k_swa=keys.count("attention.key_length_swa", head_dim_k),
        head_dim_v_swa=keys.count("attention.value_length_swa", head_dim_v),
        is_mla=keys.has("attention.key_length_mla") and keys.has("attention.value_length_mla"),
        state_r=state_r,
        state_s=state_s,
        is_encoder=is_encoder,
        causal=not is_encoder and keys.get("attention.causal") is not False,
    )


def _architecture(values: Mapping[str, Value]) -> str:
    kind = values.get("general.type", "model")
    name = values.get("general.architecture")
    if name == "clip":
        kind = "mmproj"
    if kind in _OTHER_KINDS:
        raise GGUFError(f"it is {_OTHER_KINDS[str(kind)]}, not a model that can run alone")
    if as_count(values.get("split.no", 0), "split.no") > 0:
        raise GGUFError(
            "it is a later part of a split model", remedy="name the part that ends in -00001-of-…"
        )
    if not isinstance(name, str) or not name:
        raise GGUFError("it does not say what model it is: it lacks general.architecture")
    return name


def _count_layers(keys: Keys) -> tuple[int, int]:
    """Return the layers in all, and those at the end that only draft tokens."""
    n_layer = keys.count("block_count")
    nextn = keys.count("nextn_predict_layers", 0)
    if not 0 < n_layer <= MAX_LAYERS or nextn >= n_layer:
        raise GGUFError(f"it claims {n_layer} layers, {nextn} of them for drafts")
    return n_layer, nextn


def _head_sizes(keys: Keys, n_embd: int, n_head: tuple[int, ...]) -> tuple[int, int]:
    """Return the elements of a head of K and of V; models without attention have none.

    llama.cpp asks the first layer; where that is recurrent, only PLaMo 2 says more.
    """
    if not n_head[0] and keys.architecture != "plamo2":
        return 0, 0
    usual = n_embd // n_head[0] if n_head[0] else 0
    return keys.count("attention.key_length", usual), keys.count("attention.value_length", usual)


def _n_vocab(header: GGUFHeader, keys: Keys) -> int:
    lengths = header.array_lengths
    n_tokens = lengths.get(TOKENS)
    if n_tokens is None:
        return keys.count("vocab_size", 0)
    for key in _PER_TOKEN:
        if lengths.get(key, n_tokens) < n_tokens:
            raise GGUFError(f"{key} has {lengths[key]} items for {n_tokens} tokens")
    return n_tokens


def _quant(values: Mapping[str, Value]) -> str | None:
    file_type = values.get("general.file_type")
    return FILE_TYPES.get(file_type) if isinstance(file_type, int) else None


def _token_id(values: Mapping[str, Value], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) else None


def _text(values: Mapping[str, Value], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None
