"""A runtime config as an Ollama Modelfile.

The grammar is that of parser/parser.go, the parameters those of Options in api/types.go, both of
github.com/ollama/ollama at fb30760996871fa9460115c753afd2c60d4ab0f7 (August 2026).
"""

import re
from pathlib import Path

from mlm.planning.exported import CannotExport, Exported, Subject, heading, refuse_path

_PROGRAM = "Ollama"
_SHARD = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.gguf$", re.IGNORECASE)


def export_ollama(subject: Subject) -> Exported:
    """Return the Modelfile: ``ollama create NAME -f FILE``.

    Raises:
        CannotExport: the model is split, or its path holds what a Modelfile cannot.
    """
    if _SHARD.search(subject.path.name):
        raise CannotExport(
            f"Ollama takes no split model, and {subject.path.name} is a part of one",
            remedy="join the parts: llama-gguf-split --merge FIRST_PART WHOLE",
        )
    config = subject.config
    parameters: dict[str, int | str] = {
        "num_ctx": config.n_ctx_slot,
        "num_batch": config.n_batch,
        "num_gpu": config.n_gpu_layers,
        "num_thread": config.n_threads,
        "use_mmap": "true" if config.use_mmap else "false",
    }
    if config.max_tokens is not None:
        parameters["num_predict"] = config.max_tokens
    left_out = _left_out(subject)
    lines = [f"FROM {_quote(subject.path)}"]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    text = heading(subject, _PROGRAM, left_out) + "\n".join(lines) + "\n"
    return Exported(text, left_out)


def _quote(path: Path) -> str:
    """Return a path as a value of a Modelfile, which knows quotes but no escapes."""
    text = str(path)
    if any(not (char.isprintable() or char in "\n\r\t") for char in text):
        raise refuse_path(_PROGRAM, path, "a Modelfile drops characters that cannot be printed")
    if not set(text) & set(' "\t\n\r'):
        return text
    for quote in ('"', '"""'):
        if not _ends_early(text, quote):
            return f"{quote}{text}{quote}"
    raise refuse_path(_PROGRAM, path, "a Modelfile has no way to quote it")


def _ends_early(text: str, quote: str) -> bool:
    """Whether ``text`` in ``quote`` seems to end at a line end within: after such a quote."""
    ends = [match.start() for match in re.finditer(r"[\n\r]", text)]
    return any(text[:end].rstrip().endswith(quote) for end in ends)


def _left_out(subject: Subject) -> tuple[str, ...]:
    config = subject.config
    kept = f"response_cache {config.response_cache}, cache_ttl_s {config.cache_ttl_s}"
    left_out = [
        f"n_parallel {config.n_parallel}: for the whole server, OLLAMA_NUM_PARALLEL",
        f"type_k {config.type_k}, type_v {config.type_v}: for the whole server, both alike,"
        " OLLAMA_KV_CACHE_TYPE",
        f"flash_attn {config.flash_attn}: for the whole server, OLLAMA_FLASH_ATTENTION",
        f"n_ubatch {config.n_ubatch}, n_threads_batch {config.n_threads_batch}: Ollama chooses",
        f"{kept}: Ollama keeps no answers",
        f"prefix_cache {config.prefix_cache}: Ollama keeps what its slots hold",
        "the chat template: Ollama has a language of its own; it knows most by the one in the file",
    ]
    if config.n_cpu_moe:
        left_out.append(f"n_cpu_moe {config.n_cpu_moe}: Ollama offloads whole layers only")
    if config.use_mlock:
        left_out.append("use_mlock: Ollama has given it up")
    return tuple(left_out)
