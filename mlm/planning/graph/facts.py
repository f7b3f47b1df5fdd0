"""From a header to what the graph of its model depends on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlm.gguf.keys import Keys
from mlm.gguf.types import POOLING_MEAN
from mlm.planning.graph.allocator import Dims
from mlm.planning.graph.layers import GraphFacts
from mlm.planning.graph.parts import Batch, LayerFacts
from mlm.planning.graph.whole import graph_bytes

if TYPE_CHECKING:
    from mlm.gguf.types import GGUFMetadata

# Queries and keys keep no position: the models have other means, or none.
_NO_TURNS = frozenset((
    "bert", "bloom", "gpt2", "jais", "jamba", "jina-bert-v2", "kimi-linear", "mpt",
    "nemotron_h", "nemotron_h_moe", "refact", "starcoder",
))  # fmt: skip
_BAICHUAN_13B_LAYERS = 40  # that model has ALiBi, the smaller one turns
_TURNS_SLIDING_ONLY = frozenset((
    "afmoe", "cohere2", "cohere2moe", "exaone-moe", "exaone4", "smallthinker",
))  # fmt: skip
_LAYER_NORM = frozenset((
    "bert", "cohere2", "command-r", "dbrx", "jina-bert-v2", "jina-bert-v3", "modern-bert", "mpt",
    "nomic-bert", "nomic-bert-moe", "olmo",
))  # fmt: skip
_BIASED_NORMS = frozenset(("attn_norm.bias", "attn_output_norm.bias"))  # no RMS norms have one
_FOUR_POSITIONS = frozenset((
    "paddleocr", "qwen2vl", "qwen35", "qwen35moe", "qwen3vl", "qwen3vlmoe",
))  # fmt: skip
_PICKS_LATE = frozenset((
    "cohere2moe", "gemma4", "nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe", "qwen3next",
))  # fmt: skip
_PARALLEL = {
    "codeshell": "",
    "falcon": "attention second",
    "phi2": "attention first",
    "plamo": "attention second",
    "command-r": "attention last",
    "cohere2": "attention last",
    "cohere2moe": "attention last",
}

_TRIAL = Batch(
    n_tokens=1, n_seqs=1, n_outputs=1, cells=256, sliding_cells=256, n_streams=1, flash=True,
    quantized_k=False, quantized_v=False, cached=True,
)  # fmt: skip


# No model routes to more experts per token (LLAMA_MAX_EXPERTS is 512).
# Matrices of which the graph need not ask: their size is that of others, or follows from keys.
_TOLD_BY_OTHERS = frozenset((
    "altup_correct_coef.weight", "altup_predict_coef.weight", "altup_router.weight",
    "attn_gate.weight", "attn_k.weight", "attn_qkv.weight", "attn_v.weight",
    "ffn_down_chexps.weight", "ffn_gate_chexps.weight", "ffn_up_chexps.weight",
    "ffn_up_exps.weight", "proj.weight", "shortconv.conv.weight", "ssm_alpha.weight",
    "ssm_conv1d.weight", "ssm_conv1d_k.weight", "ssm_conv1d_v.weight", "ssm_f_b.weight",
    "ssm_g_b.weight", "time_mix_lerp_fused.weight", "time_mix_v1.weight", "time_mix_v2.weight",
    "time_mix_w2.weight",
))  # fmt: skip
_MAX_EXPERTS_USED = 64


class _Noted(dict[str, Dims]):
    """The shapes of a layer's tensors, and which of them the graph asked for."""

    def __init__(self, shapes: Mapping[str, Dims]) -> None:
        super().__init__(shapes)
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> Dims:
        self.asked.add(name)
        return super().__getitem__(name)

    def is_used_up(self) -> bool:
        """Return whether no matrix is left of which the graph does not know."""
        matrices = {name for name, dims in self.items() if len(dims) > 1}
        left = matrices - self.asked - _TOLD_BY_OTHERS
        return not any(name.endswith(".weight") and not name.startswith("vis_") for name in left)


def graph_facts(metadata: "GGUFMetadata") -> GraphFacts | None:
    """Return the facts of the model that ``metadata`` describes.

    None if its layers are not made of what the graphs here are made of: found by trying it once.
    """
    if metadata.n_expert_used > _MAX_EXPERTS_USED:
        return None
    try:
        facts = _facts(metadata)
        graph_bytes(facts, _TRIAL)
    except (LookupError, ArithmeticError, ValueError):
        return None
    is_whole = all(
        each.tensors.is_used_up() for each in facts.layers if isinstance(each.tensors, _Noted)
    )
    return facts if is_whole else None


def _facts(metadata: "GGUFMetadata") -> GraphFacts:
    keys = Keys(metadata.architecture, metadata.values)
    layers = _layers(metadata)
    name, first = metadata.architecture, layers[0]
    parallel = _PARALLEL.get(name, "")
    if name == "gptneox" and metadata.values.get("gptneox.use_parallel_residual") is True:
        parallel = "attention last"
    if name == "stablelm" and "ffn_norm.weight" not in first:
        parallel = "attention second"
    return GraphFacts(
        architecture=name,
        n_embd=metadata.n_embd,
        n_vocab=metadata.n_vocab,
        layers=layers,
        is_encoder=metadata.is_encoder,
        layer_norm=name in _LAYER_NORM
        or "attn_norm.bias" in first
        or "attn_output_norm.bias" in first,
        n_position=4 if name in _FOUR_POSITIONS else 1,
        n_per_layer=_per_layer_width(metadata),
        n_stacked=keys.count("n_deepstack_layers", 0),
        picks_late=name in _PICKS_LATE,
        parallel=parallel,
        averages=metadata.pooling_type == POOLING_MEAN,
    )


def _per_layer_width(metadata: "GGUFMetadata") -> int:
    """Return the elements per token of a further input that each layer has a part of."""
    for tensor in metadata.tensors:
        if tensor.name == "per_layer_token_embd.weight":
            return tensor.shape[0]
    return 0


def _layers(metadata: "GGUFMetadata") -> tuple[LayerFacts, ...]:
    count = metadata.n_layer - metadata.n_layer_nextn
    shapes: list[dict[str, Dims]] = [{} for _ in range(count)]
    for tensor in metadata.tensors:
        parts = tensor.name.split(".", 2)
        if len(parts) == 3 and parts[0] == "blk" and parts[1].isdecimal():
            index = int(parts[1][:6])
            if index < count:
                shapes[index][parts[2]] = tensor.shape
    known: dict[object, LayerFacts] = {}
    return tuple(_once(known, _layer(metadata, i, shapes[i])) for i in range(count))


def _once(known: dict[object, LayerFacts], layer: LayerFacts) -> LayerFacts:
    """Return the first layer that equals ``layer``."""
    rest = tuple(getattr(layer, name) for name in layer.__slots__ if name != "tensors")
    return known.setdefault((frozenset(layer.tensors.items()), rest), layer)


def _is_turned(metadata: "GGUFMetadata", i: int) -> bool:
    name = metadata.architecture
    if name in _NO_TURNS or (name == "baichuan" and metadata.n_layer == _BAICHUAN_13B_LAYERS):
        return False
    if name == "granitehybrid":  # which uses this key as a switch
        return metadata.values.get(f"{name}.rope.scaling.finetuned") is not False
    return metadata.is_sliding[i] or name not in _TURNS_SLIDING_ONLY


def _layer(metadata: "GGUFMetadata", i: int, tensors: dict[str, Dims]) -> LayerFacts:
    name, sliding = metadata.architecture, metadata.is_sliding[i]
    return LayerFacts(
        tensors=_Noted(tensors),
        n_head=metadata.n_head[i],
        n_head_kv=metadata.n_head_kv[i],
        head_k=metadata.head_dim_k_swa if sliding else metadata.head_dim_k,
        head_v=metadata.head_dim_v_swa if sliding else metadata.head_dim_v,
        sliding=sliding,
        recurrent=metadata.is_recurrent[i],
        owns_kv=metadata.has_kv[i] or metadata.is_encoder,
        norms_values=name in ("gemma3n", "gemma4"),
        is_turned=_is_turned(metadata, i),
        n_expert_used=metadata.n_expert_used,
        state_r=metadata.state_r,
        state_s=metadata.state_s,
    )
