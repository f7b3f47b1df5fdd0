"""What is wrong or doubtful about a vocabulary. Pure."""

from collections.abc import Iterator

from mlm.gguf.finding import Finding, error, name_some, warn
from mlm.gguf.types import GGUFMetadata
from mlm.gguf.vocabulary import CONTROL, KNOWN_TYPES, NORMAL, USER_DEFINED, Vocabulary

_OTHER = "use another conversion of this model"
# From llama-vocab.cpp of llama-cpp-python 0.3.36; llama.cpp refuses all others.
_MODELS = frozenset((
    "no_vocab", "none", "llama", "bert", "gpt2", "hybriddna", "whitespace", "t5", "rwkv", "plamo2",
    "gemma4",
))  # fmt: skip
_PRE = frozenset((
    "default", "minicpm5", "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral",
    "midm-2.0", "lfm2", "jina-v5-nano", "deepseek-llm", "deepseek-coder", "deepseek-v3",
    "spark2_5", "youtu", "falcon", "mpt", "starcoder", "gpt-2", "phi-2", "jina-es", "jina-de",
    "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "jais-2",
    "gemma4", "granite-embed-multi-311m", "sarvam-moe", "jina-v1-en", "jina-v2-code",
    "roberta-bpe", "whitespace", "refact", "command-r", "qwen2", "deepseek-r1-qwen", "kormo",
    "f2llmv2", "qwen35", "stablelm2", "olmo", "dbrx", "smaug-bpe", "poro-chat", "chatglm-bpe",
    "glm4", "glm5", "viking", "jais", "tekken", "smollm", "codeshell", "bloom", "gpt3-finnish",
    "exaone", "exaone4", "exaone-moe", "chameleon", "minerva-7b", "megrez", "gpt-4o", "llama4",
    "kanana2", "talkie", "granite-embed-multi-97m", "tiny_aya", "cohere2moe", "superbpe",
    "trillion", "granite-docling", "bailingmoe", "bailingmoe2", "llada-moe", "seed-coder",
    "hunyuan", "hunyuan-dense", "hy_v4", "joyai-llm", "kimi-k2", "ufakzeka", "grok-2", "afmoe",
    "laguna", "minimax-m2", "solar-open", "mellum2",
))  # fmt: skip


def lint_vocabulary(vocabulary: Vocabulary, model: GGUFMetadata) -> list[Finding]:
    """Return what is to be said of the tokens of ``model``."""
    checks = (_tokenizer, _pre, _size, _ids, _types, _end)
    return [finding for check in checks for finding in check(vocabulary, model)]


def _tokenizer(vocabulary: Vocabulary, model: GGUFMetadata) -> Iterator[Finding]:
    if model.tokenizer_model not in _MODELS:
        yield error(
            "tokenizer",
            f"its tokenizer is {model.tokenizer_model!r}",
            "llama.cpp knows none of that name and refuses the file",
            "mlm engine install gets a newer llama.cpp, or use another model",
        )


def _pre(vocabulary: Vocabulary, model: GGUFMetadata) -> Iterator[Finding]:
    """How text is cut before BPE is in no other key; the wrong way makes answers worse."""
    pre = model.values.get("tokenizer.ggml.pre")
    if model.tokenizer_model != "gpt2":
        return
    if pre is None:
        yield warn(
            "pre-tokenizer",
            "it does not name its pre-tokenizer",
            "llama.cpp cuts text in its default way: answers may be worse",
            _OTHER,
        )
    elif pre not in _PRE:
        yield error(
            "pre-tokenizer",
            f"its pre-tokenizer is {str(pre)[:40]!r}",
            "llama.cpp 0.3.36 knows none of that name and refuses the file",
            "mlm engine install gets a newer llama.cpp",
        )


def _size(vocabulary: Vocabulary, model: GGUFMetadata) -> Iterator[Finding]:
    count = len(vocabulary.tokens)
    for tensor in model.tensors:
        if tensor.name not in ("token_embd.weight", "output.weight") or len(tensor.shape) != 2:
            continue
        if tensor.shape[1] != count:
            yield error(
                "vocab-size",
                f"{tensor.name} has {tensor.shape[1]} rows for {count} tokens",
                "llama.cpp cannot load it",
                _OTHER,
            )


def _ids(vocabulary: Vocabulary, model: GGUFMetadata) -> Iterator[Finding]:
    count = len(vocabulary.tokens)
    wrong = [name for name, number in vocabulary.special.items() if not 0 <= number < count]
    if not wrong:
        return
    what = f"of {count} tokens there is none with the number of {name_some(wrong)}"
    if {"eos", "eot"} & set(wrong):
        yield error("special-token", what, "answers may not end", _OTHER)
    else:
        yield warn("special-token", what, "llama.cpp takes a default, or does without")


def _types(vocabulary: Vocabulary, model: GGUFMetadata) -> Iterator[Finding]:
    unknown = sorted({kind for kind in vocabulary.types if kind not in KNOWN_TYPES})
    if unknown:
        yield error(
            "token-type",
            f"tokens have the unknown types {unknown[:4]}",
            "llama.cpp takes them for ordinary text",
            _OTHER,
        )
    for name in ("bos", "eos", "eot"):
        number = vocabulary.special.get(name, -1)
        if 0 <= number < len(vocabulary.types) and vocabulary.types[number] == NORMAL:
            yield warn(
                "token-type",
                f"the {name} token {vocabulary.text(name)!r} is marked as ordinary text",
                "a user who types it ends the turn, and the model may print it",
                _OTHER,
            )
    if vocabulary.types and not {CONTROL, USER_DEFINED} & set(vocabulary.types):
        yield warn(
            "token-type",
            "none of its tokens is marked as special",
            "the marks of the chat template may be read as ordinary text",
            _OTHER,
        )


def _end(vocabulary: Vocabulary, model: GGUFMetadata) -> Iterator[Finding]:
    if model.is_encoder or vocabulary.ends():
        return
    yield warn(
        "end-of-text",
        "no token of it ends an answer",
        "answers run on until they are cut off",
        "set --max-tokens, or use another conversion",
    )
