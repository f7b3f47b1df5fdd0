"""The computation of vectors and scores."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.computer import Part
from mlm.engine.llama.context import Batch, make_context
from mlm.engine.llama.log import LoadError, LoadLog
from mlm.engine.llama.model import Model
from mlm.engine.llama.vocabulary import Vocabulary
from mlm.engine.messages import WorkerConfig
from mlm.gguf.types import GGUFMetadata

_RANK = C.LLAMA_POOLING_TYPE_RANK
_PLACES = re.compile(r"\{(query|document)\}")
# A call computes attention between all its tokens, also of different inputs, only to mask it. On
# a CPU short inputs were fastest at 128 to 256 tokens per call (bge-small's shape, one thread:
# 180 tokens/s, 113 with 2,048); a GPU wants more.
_FILL_CPU, _FILL_GPU = 256, 2048


class EmbeddingContext:
    """Computes one vector, or one score, for each of several inputs at a time.

    A model whose vectors come from the last token reads inputs piece by piece into a KV cache, and
    only the last token of each with results: for every token with results llama.cpp also computes
    and keeps a row of logits that nobody reads. All others take their inputs whole.
    """

    def __init__(
        self, model: Model, config: WorkerConfig, log: LoadLog, metadata: GGUFMetadata
    ) -> None:
        reads_in_pieces = metadata.reads_in_pieces
        if config.pooling != "auto":
            reads_in_pieces = metadata.causal and config.pooling == "last"
        if not reads_in_pieces and config.n_ubatch < config.n_batch:
            raise LoadError("this model takes whole inputs: n_ubatch must be n_batch in its config")
        self.handle = make_context(model.handle, config, log)
        self._memory = C.llama_get_memory(self.handle)
        self._batch = Batch(int(C.llama_n_batch(self.handle)))
        pooling = int(C.llama_pooling_type(self.handle))
        self.pools = pooling != C.LLAMA_POOLING_TYPE_NONE
        self.ranks = pooling == _RANK
        self.width = 1 if self.ranks else int(C.llama_model_n_embd_out(model.handle))
        self._row = int(C.llama_model_n_cls_out(model.handle)) if self.ranks else self.width
        self.takes_whole = not reads_in_pieces
        self.n_ctx = int(C.llama_n_ctx(self.handle))
        self.n_ubatch = int(C.llama_n_ubatch(self.handle))
        self.n_ctx_slot = self.n_ctx  # the longest input
        if self.takes_whole:  # learned positions end with the training's
            self.n_ctx_slot = min(self.n_ctx, self.n_ubatch, model.n_ctx_train)
        has_state = C.llama_model_is_recurrent(model.handle) or C.llama_model_is_hybrid(
            model.handle
        )
        # Of several sequences with states llama.cpp computes equal parts one after the other.
        self.n_seqs = 1 if has_state and self.takes_whole else config.n_parallel
        self.n_fill = min(_FILL_GPU if config.n_gpu_layers else _FILL_CPU, self.n_ubatch)
        # As many as there are rows for: cheaper to compute in one go than in two.
        self.n_few = min(config.n_outputs_max or config.n_parallel, self.n_ubatch)

    def read(self, parts: Sequence[Part]) -> int:
        """Compute ``parts`` without results; return llama.cpp's code, 0 for success."""
        C.llama_set_embeddings(self.handle, False)
        return int(C.llama_decode(self.handle, self._batch.fill(parts)))

    def embed(self, parts: Sequence[Part]) -> int:
        """Compute ``parts``, each the end of an input; return llama.cpp's code, 0 for success."""
        C.llama_set_embeddings(self.handle, True)
        return int(C.llama_decode(self.handle, self._batch.fill(parts, all_outputs=True)))

    def vector(self, seq_id: int, dimensions: int | None) -> bytes | None:
        """Return what the last `embed` made of a sequence, as 32-bit floats; None: no numbers.

        Vectors are cut to ``dimensions`` and have length 1.
        """
        pointer = C.llama_get_embeddings_seq(self.handle, seq_id)
        if not pointer:
            return None
        row = np.ctypeslib.as_array(pointer, shape=(self._row,))[:dimensions]
        row = row[: self.width].astype(np.float64)
        if not np.isfinite(row).all():
            return None
        if not self.ranks:
            row /= np.sqrt(np.square(row).sum()) or 1.0
        return row.astype("<f4").tobytes()

    def forget(self, seq_id: int) -> None:
        """Drop a sequence."""
        if self._memory:
            C.llama_memory_seq_rm(self._memory, seq_id, -1, -1)


def rerank_prompt(model: Model) -> Callable[[str, str], list[int]]:
    """Return what makes tokens of a query and a document, as the model was trained to see them.

    By its template for that, if it has one; else query and document, each with its end.
    """
    vocabulary = model.vocabulary
    raw = C.llama_model_chat_template(model.handle, b"rerank")
    if raw is None:
        return lambda query, document: _pair(vocabulary, query, document)
    template = raw.decode("utf-8", "replace")

    def fill_in(query: str, document: str) -> list[int]:
        given = {"query": query, "document": document}
        text = _PLACES.sub(lambda place: given[place[1]], template)
        return vocabulary.tokenize(text, add_special=False)

    return fill_in


def _pair(vocabulary: Vocabulary, query: str, document: str) -> list[int]:
    def plain(text: str) -> list[int]:
        return vocabulary.tokenize(text, add_special=False, parse_special=False)

    handle: Any = vocabulary.handle
    end, separator = int(C.llama_vocab_eos(handle)), int(C.llama_vocab_sep(handle))
    start = [int(C.llama_vocab_bos(handle))] if vocabulary.adds_bos else []
    ending = [end if end >= 0 else separator] if C.llama_vocab_get_add_eos(handle) else []
    between = [separator] if C.llama_vocab_get_add_sep(handle) else []
    return [*start, *plain(query), *ending, *between, *plain(document), *ending]
