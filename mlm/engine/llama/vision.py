"""Pictures to rows of numbers that a model reads in place of tokens: llama.cpp's libmtmd."""

import ctypes
import hashlib
import os
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as C
from llama_cpp import mtmd_cpp as M  # fails where llama.cpp was built without

from mlm.engine.computer import Part
from mlm.engine.image import Image, stand_ins
from mlm.engine.llama.log import LoadError, LoadLog
from mlm.engine.llama.model import Model
from mlm.engine.messages import WorkerConfig
from mlm.engine.picture import Picture
from mlm.gguf.reader import read_file_header

_MROPE = (C.LLAMA_ROPE_TYPE_MROPE, C.LLAMA_ROPE_TYPE_IMROPE)


class Eyes:
    """A projector, with what it takes to compute it. `read` is for any thread, `encode` for one."""

    def __init__(self, path: str, model: Model, config: WorkerConfig, log: LoadLog) -> None:
        header = read_file_header(Path(path))  # llama.cpp aborts on many a broken file
        log.listen_to_vision(M)
        params = M.mtmd_context_params_default()
        params.use_gpu = config.n_gpu_layers > 0
        params.n_threads = config.n_threads_batch
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.print_timings = False
        params.warmup = True  # reserves what it computes in; nothing is computed yet
        self._handle = M.mtmd_init_from_file(os.fsencode(path), model.handle, params)
        if not self._handle:
            raise LoadError(log.reason)
        log.note_weights(sum(tensor.n_bytes for tensor in header.tensors))
        self.sees = bool(M.mtmd_support_vision(self._handle))  # some projectors only hear
        self._width = int(C.llama_model_n_embd_inp(model.handle))
        self._dimensions = 4 if C.llama_model_rope_type(model.handle) in _MROPE else 1

    def read(self, pieces: Sequence[str | Picture]) -> list[list[int] | Image]:
        """Return the tokens of texts, with pictures between them, scaled as the model wants them.

        A picture may become several images, with tokens of the model's own around each.

        Raises:
            ValueError: a picture cannot be made into what the model takes.
        """
        parts, _kept_alive = _to_parts(pieces)
        chunks = M.mtmd_input_chunks_init()
        try:
            code = M.mtmd_tokenize_from_parts(self._handle, chunks, parts, len(parts), True)
            if code:
                raise ValueError("the model cannot take a picture of this shape")
            n_chunks = M.mtmd_input_chunks_size(chunks)
            return list(self._take(M.mtmd_input_chunks_get(chunks, i) for i in range(n_chunks)))
        finally:
            M.mtmd_input_chunks_free(chunks)

    def encode(self, image: Image) -> "np.ndarray[Any, Any]":
        """Return the rows of numbers that stand for the image in the model's input.

        Raises:
            ValueError: llama.cpp cannot compute them.
        """
        if M.mtmd_encode_chunk(self._handle, image.source.handle):
            raise ValueError("llama.cpp cannot encode this picture")
        pointer = M.mtmd_get_output_embd(self._handle)
        rows = np.ctypeslib.as_array(pointer, shape=(image.n_tokens, self._width))
        return rows.copy()  # the next call writes over them

    def batch(self, part: Part, position: int) -> object:
        """Return the llama_batch of a part of an image that begins at ``position``.

        It is valid until the next call.
        """
        image, size, begin = part.image, len(part.tokens), part.image_start
        assert image is not None
        rows = np.ascontiguousarray(image.embeddings[begin : begin + size], np.float32)
        places = (M.mtmd_decoder_pos * image.n_tokens)()
        tokens = M.mtmd_input_chunk_get_tokens_image(image.source.handle)
        M.mtmd_helper_image_get_decoder_pos(tokens, position, places)
        # In time, by column, by row, and one that is not used; llama.cpp has rows before columns.
        table = np.frombuffer(places, np.uint32).reshape(-1, 4)[begin : begin + size, [0, 2, 1, 3]]
        positions = np.ascontiguousarray(table.T[: self._dimensions], np.int32)
        n_seq_id, output = np.ones(size, np.int32), np.zeros(size, np.int8)
        seq_id = ctypes.pointer(ctypes.c_int32(part.seq_id))
        int32_p, int8_p = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_int8)
        seq_ids = (int32_p * size)(*[seq_id] * size)
        self._kept_alive = rows, positions, n_seq_id, output, seq_id, seq_ids
        return C.llama_batch(
            n_tokens=size,
            token=None,
            embd=rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            pos=positions.ctypes.data_as(int32_p),
            n_seq_id=n_seq_id.ctypes.data_as(int32_p),
            seq_id=seq_ids,
            logits=output.ctypes.data_as(int8_p),
        )

    def _take(self, chunks: Any) -> Iterator[list[int] | Image]:
        counts: Counter[bytes] = Counter()
        for chunk in chunks:
            if M.mtmd_input_chunk_get_type(chunk) == M.MTMD_INPUT_CHUNK_TYPE_TEXT:
                count = ctypes.c_size_t()
                tokens = M.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
                yield _check(list(tokens[: count.value]))
                continue
            picture = M.mtmd_input_chunk_get_id(chunk) or b""
            n_tokens = int(M.mtmd_input_chunk_get_n_tokens(chunk))
            name = b"%s/%d/%d" % (picture, counts[picture], n_tokens)
            counts[picture] += 1
            yield Image(
                stand_ins(name, n_tokens),
                int(M.mtmd_input_chunk_get_n_pos(chunk)),
                not M.mtmd_decode_use_non_causal(self._handle, chunk),
                _Chunk(M.mtmd_input_chunk_copy(chunk)),
            )


def _check(tokens: list[int]) -> list[int]:
    """Return tokens that libmtmd has made; where the model has none it makes -1."""
    if min(tokens, default=0) < 0:
        raise ValueError(
            "the projector wants tokens around a picture that this model does not have"
        )
    return tokens


class _Chunk:
    """What libmtmd knows of an image: its dots, scaled, and where they stand."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        weakref.finalize(self, M.mtmd_input_chunk_free, handle)


def _to_parts(pieces: Sequence[str | Picture]) -> tuple[Any, list[object]]:
    """Return libmtmd's form of the pieces, and what must live as long as it is used."""
    parts = (ctypes.POINTER(M.mtmd_input_part) * len(pieces))()
    kept: list[object] = []
    for n, piece in enumerate(pieces):
        part = M.mtmd_input_part()
        if isinstance(piece, str):
            raw = piece.encode()
            text = M.mtmd_input_text(raw, len(raw), False, True)
            part.text = ctypes.pointer(text)
            kept += [raw, text]
        else:
            bitmap = _Bitmap(piece, n)
            part.bitmap = bitmap.handle
            kept.append(bitmap)
        parts[n] = ctypes.pointer(part)
        kept.append(part)
    return parts, kept


class _Bitmap:
    def __init__(self, picture: Picture, n: int) -> None:
        dots = (ctypes.c_uint8 * len(picture.rgb)).from_buffer_copy(picture.rgb)
        self.handle = M.mtmd_bitmap_init(picture.width, picture.height, dots)
        weakref.finalize(self, M.mtmd_bitmap_free, self.handle)
        digest = hashlib.sha256(b"%d %d " % (picture.width, n) + picture.rgb).hexdigest()
        M.mtmd_bitmap_set_id(self.handle, digest.encode())
