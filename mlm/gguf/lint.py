"""What is wrong or doubtful about a model, as far as its header tells. Pure.

What the header alone makes impossible (tensors that overlap, keys or tokens twice, a file that is
cut off) never gets here: `mlm.gguf.header.read_header` refuses such files.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from mlm.gguf.errors import GGUFError
from mlm.gguf.finding import Finding, error, info, name_some, warn
from mlm.gguf.ggml_types import FILE_TYPES, TYPES_BY_NAME
from mlm.gguf.keys import Keys
from mlm.gguf.layers import RECURRENT
from mlm.gguf.lint_vocabulary import lint_vocabulary
from mlm.gguf.metadata import describe_model
from mlm.gguf.types import GGUFHeader, GGUFMetadata
from mlm.gguf.vocabulary import find_vocabulary

_AGAIN = "mlm download REF --force, or mlm verify if it came through mlm"
_OTHER = "use another conversion of this model"
_LAYER = re.compile(r"^(?:blk|enc\.blk|dec\.blk)\.(\d+)\.")
_PAD = 4096  # some tools fill a file up to the page
_MIN_CTX, _MAX_CTX = 256, 32 * 1024**2  # tokens that a model can sensibly have been trained with
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_NO_ROPE = RECURRENT | {"bert", "bloom", "gpt2", "jina-bert-v2", "mpt", "refact", "starcoder"}
_SHORT_CTX = 4096  # up to here, the default base of 10,000 is what models were trained with
# What a quantization falls back to for rows that are no multiple of 256 (llama-quant.cpp).
_FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_LOWEST_FALLBACK = "IQ4_NL"
_MIXTURES = {
    "IQ3_XS": {"IQ3_S", "IQ3_XXS"}, "IQ3_M": {"IQ3_S"}, "IQ2_M": {"IQ2_S"},
    "IQ2_S": {"IQ2_XS", "IQ2_S"}, "Q2_K_S": {"Q2_K"},
}  # fmt: skip


def lint_header(header: GGUFHeader, later: Sequence[GGUFHeader] = ()) -> list[Finding]:
    """Return what is to be said of a model, given the headers of all of its files.

    ``header`` was read with `mlm.gguf.vocabulary.KEPT`, or the vocabulary is not looked at.
    """
    findings = list(_trailing(header))
    try:
        model = describe_model(header)
    except GGUFError as failure:
        return [*findings, _no_model(failure)]
    every = [tensor for part in (header, *later) for tensor in part.tensors]
    names = [tensor.name for tensor in every]
    if len(later) == model.split_count - 1:
        findings += _layers(model, names)
    findings += _file_type(model, {t.type_name for t in every if len(t.shape) > 1})
    for check in _OF_THE_MODEL:
        findings += check(model)
    vocabulary = find_vocabulary(header)
    if vocabulary is not None:
        findings += lint_vocabulary(vocabulary, model)
    elif model.tokenizer_model not in (None, "none", "no_vocab"):
        findings.append(
            error(
                "vocab-missing",
                "it names a tokenizer but has no tokens",
                "llama.cpp cannot load it",
                _OTHER,
            )
        )
    return findings


def lint_shards(headers: Sequence[GGUFHeader], names: Sequence[str]) -> list[Finding]:
    """Return what does not fit together in the parts of a split model; all of them are given."""
    findings = []
    count = len(headers)
    for index, (header, name) in enumerate(zip(headers, names, strict=True)):
        number, of = header.values.get("split.no"), header.values.get("split.count")
        if (number, of) != (index, count):
            findings.append(
                error(
                    "shard-number",
                    f"{name} says it is part {number} of {of}, not {index} of {count}",
                    "parts of two models, or of two splits, are mixed",
                    _AGAIN,
                )
            )
    seen: dict[str, str] = {}
    twice = []
    for header, name in zip(headers, names, strict=True):
        twice += [tensor.name for tensor in header.tensors if tensor.name in seen]
        seen |= {tensor.name: name for tensor in header.tensors}
    if twice:
        findings.append(
            error(
                "tensor-twice",
                f"several parts hold {name_some(twice)}",
                "llama.cpp refuses to load it",
                _AGAIN,
            )
        )
    promised = headers[0].values.get("split.tensors.count")
    there = sum(len(header.tensors) for header in headers)
    if isinstance(promised, int) and promised != there:
        findings.append(
            error(
                "shard-tensors",
                f"the parts hold {there} tensors, not {promised}",
                "llama.cpp refuses to load it",
                _AGAIN,
            )
        )
    return findings


def lint_projector(model: GGUFMetadata, projector: GGUFHeader, name: str) -> list[Finding]:
    """Return whether a vision part (mmproj) that lies beside fits the model."""
    width = projector.values.get("clip.vision.projection_dim")
    width = width or projector.values.get("clip.audio.projection_dim")
    if not isinstance(width, int) or width == model.n_embd:
        return []
    return [
        warn(
            "mmproj",
            f"{name} makes embeddings of {width}, the model takes {model.n_embd}",
            "it belongs to another model, and this one cannot see with it",
            "use the mmproj file from the model's own repository",
        )
    ]


def _no_model(failure: GGUFError) -> Finding:
    is_other_kind = "not a model that can run alone" in failure.message
    is_part = "later part" in failure.message
    if is_other_kind or is_part:
        return info("not-a-model", failure.message, "its tensors are looked at all the same")
    return error("metadata", failure.message, "llama.cpp cannot load it", _OTHER)


def _trailing(header: GGUFHeader) -> Iterator[Finding]:
    if not header.tensors:
        yield info("no-tensors", "it has no tensors", "it is a vocabulary, not a model")
        return
    last = header.tensors[-1]
    extra = header.file_size - (header.header_bytes + last.offset + last.n_bytes)
    if extra > _PAD:
        yield warn(
            "trailing-bytes",
            f"{extra} bytes follow the last tensor",
            "nothing reads them: two files run together, or a faulty copy",
            _AGAIN,
        )


def _layers(model: GGUFMetadata, names: Sequence[str]) -> Iterator[Finding]:
    """Every layer that the header counts has tensors, and no other has."""
    found = {int(match[1]) for name in names if (match := _LAYER.match(name))}
    used = range(model.n_layer - model.n_layer_nextn)  # those for drafts may be left out
    missing = [f"blk.{n}" for n in used if n not in found and model.n_head[n]]
    if "token_embd.weight" not in names:
        missing.insert(0, "token_embd.weight")
    if missing:
        yield error(
            "tensor-missing",
            f"there is no {name_some(missing)}",
            "llama.cpp cannot load it",
            _OTHER,
        )
    beyond = sorted(n for n in found if n >= model.n_layer)
    if beyond:
        yield warn(
            "layer-count",
            f"it has tensors of layer {beyond[-1]}, but counts {model.n_layer} layers",
            "they take memory and are never used",
            _OTHER,
        )


def _file_type(model: GGUFMetadata, kinds: set[str]) -> Iterator[Finding]:
    number = model.values.get("general.file_type")
    if not isinstance(number, int):
        return
    name = FILE_TYPES.get(number)
    if name is None:
        yield info(
            "file-type",
            f"general.file_type {number} is not known to mlm",
            "its quantization cannot be named",
        )
        return
    base = re.sub(r"_(?:S|M|L)$", "", name) if name not in TYPES_BY_NAME else name
    wanted = _MIXTURES.get(name, {base})
    wanted |= {_FALLBACKS.get(kind, _LOWEST_FALLBACK) for kind in wanted if kind not in ("F32",)}
    if kinds and not wanted & kinds:
        there = ", ".join(sorted(kinds))
        yield warn(
            "file-type",
            f"it calls itself {name}, but its tensors are {there}",
            "what is said of its size and quality is of another file",
            _OTHER,
        )


def _context(model: GGUFMetadata) -> Iterator[Finding]:
    if not _MIN_CTX <= model.n_ctx_train <= _MAX_CTX:
        yield warn(
            "context-length",
            f"it was trained with {model.n_ctx_train} tokens of context, it says",
            "mlm plans with that number",
            "say --ctx N yourself",
        )


def _rope(model: GGUFMetadata) -> Iterator[Finding]:
    if model.architecture in _NO_ROPE or model.is_encoder:
        return
    keys = Keys(model.architecture, model.values)
    if model.n_ctx_train > _SHORT_CTX and not keys.has("rope.freq_base"):
        yield warn(
            "rope-base",
            "it does not say its RoPE base (rope.freq_base)",
            "llama.cpp takes 10000; if it was trained with another, it rambles",
            _OTHER,
        )
    kind = keys.get("rope.scaling.type")
    if kind is not None and kind not in _ROPE_SCALINGS:
        yield error(
            "rope-scaling",
            f"its RoPE scaling is of the unknown type {kind!r}",
            "llama.cpp ignores it, and long texts come out wrong",
            _OTHER,
        )
    factor = keys.get("rope.scaling.factor")
    if isinstance(factor, float) and not 0 <= factor < 1e4:
        yield error(
            "rope-scaling",
            f"its RoPE scaling factor is {factor}",
            "positions become nonsense",
            _OTHER,
        )


_OF_THE_MODEL: tuple[Callable[[GGUFMetadata], Iterator[Finding]], ...] = (_context, _rope)
