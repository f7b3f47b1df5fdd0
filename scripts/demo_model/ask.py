"""Greedy answers of a GGUF through llama.cpp; run as a child process because llama.cpp may abort.

Reads one JSON document from stdin: ``{"model": path, "conversations": [[message, …], …],
"texts": [text, …]}``, and writes ``{"answers": [text, …], "tokens": [[id, …], …]}``.
"""

import ctypes
import json
import sys
from typing import Any

import llama_cpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

N_CTX, MAX_TOKENS = 1024, 120


class Model:
    """One loaded GGUF with its template."""

    def __init__(self, path: str) -> None:
        self._log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = False  # GCC 12 miscompiles llama.cpp's AMX kernels: they crash
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            sys.exit(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = N_CTX
        settings.n_threads = settings.n_threads_batch = 1
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        template = llama_cpp.llama_model_chat_template(self.model, None).decode()
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(template)

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, True)
        return ids[:count]

    def answer(self, messages: list[dict[str, str]]) -> str:
        prompt = self.tokenize(self.template.render(messages=messages, add_generation_prompt=True))
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        pieces, batch = b"", prompt
        for _ in range(MAX_TOKENS):
            ids = (llama_cpp.llama_token * len(batch))(*batch)
            llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(ids, len(batch)))
            logits = llama_cpp.llama_get_logits_ith(self.context, -1)
            n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
            token = max(range(n_vocab), key=logits[:n_vocab].__getitem__)
            if llama_cpp.llama_vocab_is_eog(self.vocab, token):
                break
            pieces += self._piece(token)
            batch = [token]
        return pieces.decode(errors="replace")

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, 256, 0, True)
        return buffer.raw[:length]


def main() -> None:
    request: dict[str, Any] = json.load(sys.stdin)
    model = Model(request["model"])
    answers = [model.answer(messages) for messages in request.get("conversations", [])]
    tokens = [model.tokenize(text) for text in request.get("texts", [])]
    json.dump({"answers": answers, "tokens": tokens}, sys.stdout)


if __name__ == "__main__":
    main()
