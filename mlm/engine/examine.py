"""The engine describes itself, and answers one question to prove that it computes rightly.

A process of its own, because a broken build aborts or crashes instead of raising:
``python -m mlm.engine.examine`` prints what the build is as JSON;
``python -m mlm.engine.examine MODEL N_GPU_LAYERS QUESTION`` also what came of running a model.
"""

import json
import sys
from typing import Any

from mlm.engine.amx import describe_amx, name_compiler
from mlm.engine.computer import Part
from mlm.engine.ggml import Registry
from mlm.engine.llama.context import Context
from mlm.engine.llama.library import LIBRARIES, VERSION, can_offload, system_info
from mlm.engine.llama.log import LoadLog
from mlm.engine.llama.model import Model
from mlm.engine.llama.samplers import SamplerChain
from mlm.engine.messages import WorkerConfig
from mlm.engine.template import ChatTemplate

MAX_TOKENS = 64


def main(arguments: list[str]) -> None:
    """Print one JSON document."""
    log = LoadLog()  # keeps what the libraries say while they load away from stdout
    registry = Registry(LIBRARIES)
    found = _describe(registry)
    if arguments:
        model, n_gpu_layers, question = arguments
        found["trial"] = _try(registry, log, _Load(model, int(n_gpu_layers)), question)
    print(json.dumps(found))


def _describe(registry: Registry) -> dict[str, Any]:
    return {
        "version": VERSION,
        "folder": str(LIBRARIES.parent),
        "ggml": registry.version(),
        "compiler": name_compiler(LIBRARIES),
        "cpu_features": _cpu_features(system_info()),
        "backends": registry.backends(),
        "devices": list(registry.devices()),
        "can_offload": can_offload(),
        "amx": describe_amx(system_info(), LIBRARIES),
    }


def _cpu_features(info: str) -> list[str]:
    """Return what ``CPU : SSE3 = 1 | AVX = 1 | … | CUDA : ARCHS = 890 |`` says of the CPU."""
    features, section = [], ""
    for part in info.split("|"):
        head, colon, rest = part.partition(" : ")
        if colon:
            section, part = head.strip(), rest
        name, _, value = part.partition("=")
        if section == "CPU" and value.strip() == "1":
            features.append(name.strip().lower())
    return features


class _Load:
    """How the model is loaded for the trial: as a worker would, for one short answer."""

    def __init__(self, path: str, n_gpu_layers: int) -> None:
        self.path = path
        self.config = WorkerConfig(
            n_ctx=512,
            n_parallel=1,
            n_batch=256,
            n_ubatch=256,
            n_gpu_layers=n_gpu_layers,
            n_threads=1,
            n_threads_batch=1,
        )


def _try(registry: Registry, log: LoadLog, load: _Load, question: str) -> dict[str, Any]:
    before = _free_memory(registry)
    model = Model(load.path, load.config, lambda _: None, log)
    context = Context(model, load.config, log)
    answer = _answer(model, context, question)
    after = _free_memory(registry)
    grown = sum(max(0, free - after.get(name, free)) for name, free in before.items())
    # Not every driver says how much is free; llama.cpp says what it put where.
    placed = sum(
        buffer.n_bytes
        for buffer in log.buffers
        if buffer.kind == "weights" and buffer.place.startswith(tuple(before))
    )
    return {"answer": answer, "device_bytes": grown or placed}


def _free_memory(registry: Registry) -> dict[str, int]:
    return {
        device["name"]: device["memory_free"] or 0
        for device in registry.devices()
        if device["kind"] in ("gpu", "igpu")
    }


def _answer(model: Model, context: Context, question: str) -> str:
    """Return the likeliest answer, token by token."""
    vocabulary = model.vocabulary
    template = ChatTemplate(model.chat_template or "{{ messages[0].content }}")
    tokens = vocabulary.tokenize(template.render([{"role": "user", "content": question}]))
    chain = SamplerChain(vocabulary, [("greedy", ())])
    pieces, position = [], 0
    for _ in range(MAX_TOKENS):
        code = context.decode([Part(0, position, tokens, wants_logits=True)])
        if code != 0:
            raise RuntimeError(f"llama_decode fails with {code}")
        position += len(tokens)
        token = chain.sample(context, len(tokens) - 1)
        if token in vocabulary.end_tokens:
            break
        pieces.append(vocabulary.piece(token))
        tokens = [token]
    return b"".join(pieces).decode("utf-8", "replace")


if __name__ == "__main__":
    main(sys.argv[1:])
