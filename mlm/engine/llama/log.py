"""What llama.cpp says while it loads."""

import re
import sys
from collections import deque
from typing import Any

from llama_cpp import llama_cpp as C

from mlm.engine.messages import Buffer, BufferKind

# llama.cpp's words for what it keeps in a buffer; and the buffers of weights in another layout.
_BUFFERS: dict[str, BufferKind] = {
    "model": "weights", "KV": "kv_cache", "RS": "kv_cache", "compute": "compute",
    "output": "output",
}  # fmt: skip
_REPACKED = ("CPU_REPACK", "AMX")
_log_callbacks: list[object] = []  # llama.cpp calls the last one for as long as the process lives
_LEVEL_WARN, _LEVEL_ERROR, _LEVEL_CONT = 3, 4, 5  # enum ggml_log_level


class LoadError(Exception):
    """llama.cpp refused a model or a context; the text is its own last complaint."""


class LoadLog:
    """What llama.cpp says while it loads: how much memory it took, and why it gave up.

    Warnings and errors also go to stderr, which is the worker's log file.
    """

    _SIZE = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")
    _CACHE = re.compile(
        r"(?:llama_kv_cache|llama_memory_recurrent|llama_dsv4_comp_state): "
        r".*(?<!buffer )size\s*=\s*([\d.]+) MiB"
    )

    _SEEING = re.compile(r"CLIP using (\S+) backend")

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, BufferKind], int] = {}  # by llama.cpp's name of the place
        self.cache_bytes = 0  # KV cache and recurrent state; also when they are not really made
        self._complaints: deque[str] = deque(maxlen=8)
        self._level = 0
        self._seeing = "CPU"  # llama.cpp's name of the place where pictures are encoded
        callback = C.llama_log_callback(self._receive)
        _log_callbacks.append(callback)
        C.llama_log_set(callback, None)

    def listen_to_vision(self, library: Any) -> None:
        """Hear what libmtmd says, too."""
        callback = C.llama_log_callback(self._receive)
        _log_callbacks.append(callback)
        library.mtmd_log_set(callback, None)
        library.mtmd_helper_log_set(callback, None)

    def note_weights(self, n_bytes: int) -> None:
        """Count weights of which only their place was told: those of a projector."""
        self._sizes[self._seeing, "weights"] = (
            self._sizes.get((self._seeing, "weights"), 0) + n_bytes
        )

    @property
    def buffers(self) -> list[Buffer]:
        """The memory that was taken so far."""
        return [Buffer(place, kind, size) for (place, kind), size in self._sizes.items()]

    @property
    def reason(self) -> str:
        """The first of the last complaints: later ones only repeat that loading failed."""
        return self._complaints[0] if self._complaints else "llama.cpp gives no reason"

    def _receive(self, level: int, raw: bytes, _: object) -> None:
        text = raw.decode("utf-8", "replace")
        self._level = self._level if level == _LEVEL_CONT else level
        if found := self._SIZE.search(text):
            size = int(float(found[3]) * 1024**2)
            kind = "repack" if found[1] in _REPACKED else _BUFFERS[found[2]]
            self._sizes[found[1], kind] = self._sizes.get((found[1], kind), 0) + size
        elif found := self._SEEING.search(text):
            self._seeing = found[1]
        elif found := self._CACHE.search(text):
            self.cache_bytes += int(float(found[1]) * 1024**2)
        if self._level in (_LEVEL_WARN, _LEVEL_ERROR):
            sys.stderr.write(text)
            sys.stderr.flush()
        if self._level == _LEVEL_ERROR and text.strip():
            self._complaints.append(text.strip())
