"""Small computations by ggml's CPU back end. For a child process only: ggml aborts when unhappy.

Only functions of ggml's public headers are used (``ggml.h``, ``ggml-backend.h``, ``ggml-cpu.h``).
"""

import ctypes
import random
from collections.abc import Callable, Iterable
from copy import copy
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from mlm.engine.amx import refused_if_miscompiled
from mlm.engine.ggml import open_libraries
from mlm.gguf.ggml_types import TENSOR_TYPES

_NUMBERS = {kind.name: number for number, kind in TENSOR_TYPES.items()}
_DESCRIPTIONS_BYTES = 8 << 20  # for tensors and the graphs made of them, some 400 bytes for each
_GRAPH_SIZE = 64  # tensors of one graph, at most
_ALIGNMENT = 64
# As weights: bytes that are small numbers of any type, none of them denormal or not a number. They
# vary, for ggml looks up each scale of a block in a table: with one and the same it reads Q8_0 a
# quarter faster than from any model.
_BYTES = bytes(0x10 + byte % 0x20 for byte in range(256))
_TILE = random.Random(7).randbytes(1 << 20).translate(_BYTES)

_P, _N, _INT, _LONG = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int64
_FLOAT, _TEXT = ctypes.c_float, ctypes.c_char_p


class _Params(ctypes.Structure):
    """ggml_init_params."""

    _fields_ = (("mem_size", _N), ("mem_buffer", _P), ("no_alloc", ctypes.c_bool))


_FUNCTIONS: dict[str, tuple[Any, ...]] = {  # name -> type of the result, types of the arguments
    "llama_print_system_info": (_TEXT,),
    "ggml_init": (_P, _Params),
    "ggml_free": (None, _P),
    "ggml_new_tensor_3d": (_P, _P, _INT, _LONG, _LONG, _LONG),
    "ggml_permute": (_P, _P, _P, _INT, _INT, _INT, _INT),
    "ggml_mul_mat": (_P, _P, _P, _P),
    "ggml_add": (_P, _P, _P, _P),
    "ggml_flash_attn_ext": (_P, _P, _P, _P, _P, _P, _FLOAT, _FLOAT, _FLOAT),
    "ggml_new_graph_custom": (_P, _P, _N, ctypes.c_bool),
    "ggml_build_forward_expand": (None, _P, _P),
    "ggml_backend_cpu_init": (_P,),
    "ggml_backend_cpu_set_n_threads": (None, _P, _INT),
    "ggml_backend_cpu_reg": (_P,),
    "ggml_backend_cpu_buffer_type": (_P,),
    "ggml_backend_cpu_buffer_from_ptr": (_P, _P, _N),
    "ggml_backend_reg_dev_get": (_P, _P, _N),
    "ggml_backend_reg_get_proc_address": (_P, _P, _TEXT),
    "ggml_backend_dev_supports_op": (ctypes.c_bool, _P, _P),
    "ggml_backend_buft_alloc_buffer": (_P, _P, _N),
    "ggml_backend_buffer_get_base": (_P, _P),
    "ggml_backend_buffer_clear": (None, _P, ctypes.c_uint8),
    "ggml_backend_buffer_free": (None, _P),
    "ggml_backend_tensor_alloc": (_INT, _P, _P, _P),
    "ggml_backend_alloc_ctx_tensors_from_buft": (_P, _P, _P),
    "ggml_backend_graph_compute": (_INT, _P, _P),
}

Tensor = int  # an address


class Ggml:
    """The CPU back end of a build."""

    def __init__(self, folder: Path) -> None:
        """Use the libraries in ``folder``.

        Raises:
            OSError, AttributeError: they cannot be loaded, or lack a function.
        """
        libraries = open_libraries(folder, ("ggml-base", "ggml-cpu", "ggml", "llama"))
        self.call = {name: _bind(libraries, name, *types) for name, types in _FUNCTIONS.items()}
        info = self.call["llama_print_system_info"]().decode("utf-8", "replace")
        registry = self.call["ggml_backend_cpu_reg"]()
        self.device = self.call["ggml_backend_reg_dev_get"](registry, 0)
        with refused_if_miscompiled(info, folder):  # ggml asks for AMX, and remembers the answer
            self.layouts = [*self._extra_layouts(registry), self.plain_layout]  # best first
        self.backend = self.call["ggml_backend_cpu_init"]()

    def use_threads(self, n_threads: int) -> None:
        """Compute with so many threads from now on."""
        self.call["ggml_backend_cpu_set_n_threads"](self.backend, n_threads)

    @property
    def plain_layout(self) -> int:
        """The buffer type that keeps tensors as they are in files."""
        return int(self.call["ggml_backend_cpu_buffer_type"]())

    def _extra_layouts(self, registry: int) -> list[int]:
        """Return the buffer types for repacked weights, in the order in which llama.cpp asks."""
        name = b"ggml_backend_dev_get_extra_bufts"
        address = self.call["ggml_backend_reg_get_proc_address"](registry, name)
        if not address:
            return []
        layouts = ctypes.CFUNCTYPE(ctypes.POINTER(_P), _P)(address)(self.device)
        return list(takewhile(bool, (layouts[index] for index in count())))


class Pool:
    """Memory for weights in one layout. What they are does not matter, as it is only read."""

    def __init__(self, ggml: Ggml, layout: int, n_bytes: int) -> None:
        self._call = ggml.call
        self.n_bytes = n_bytes
        self._buffer = self._call["ggml_backend_buft_alloc_buffer"](layout, n_bytes + _ALIGNMENT)
        if not self._buffer:
            raise MemoryError
        base = self._call["ggml_backend_buffer_get_base"](self._buffer)
        self._base = base + -base % _ALIGNMENT
        for offset in range(0, n_bytes, len(_TILE)):
            ctypes.memmove(self._base + offset, _TILE, min(len(_TILE), n_bytes - offset))

    def in_plain_layout(self) -> "Pool":
        """Return the same memory for weights in the plain layout: new memory takes time."""
        plain = copy(self)
        plain._buffer = self._call["ggml_backend_cpu_buffer_from_ptr"](self._base, self.n_bytes)
        return plain

    def place(self, tensor: Tensor, offset: int) -> None:
        """Let ``tensor`` lie ``offset`` bytes from the start."""
        place = self._base + offset // _ALIGNMENT * _ALIGNMENT
        self._call["ggml_backend_tensor_alloc"](self._buffer, tensor, place)


class Graph:
    """Tensors and what is computed of them. To be closed."""

    def __init__(self, ggml: Ggml) -> None:
        self._ggml, self._call = ggml, ggml.call
        self._context = self._call["ggml_init"](_Params(_DESCRIPTIONS_BYTES, None, True))
        self._buffer = None

    def __enter__(self) -> "Graph":
        return self

    def __exit__(self, *_: object) -> None:
        self._call["ggml_free"](self._context)
        if self._buffer:
            self._call["ggml_backend_buffer_free"](self._buffer)

    def tensor(self, type_name: str, *shape: int) -> Tensor:
        """Return a new tensor; without a place in a pool it will hold zeros."""
        sizes = (*shape, 1, 1)[:3]
        new = self._call["ggml_new_tensor_3d"]
        return int(new(self._context, _NUMBERS[type_name], *sizes))

    def mul_mat(self, weights: Tensor, x: Tensor) -> Tensor:
        """Return the product of a matrix and vectors."""
        return int(self._call["ggml_mul_mat"](self._context, weights, x))

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the sum of two tensors."""
        return int(self._call["ggml_add"](self._context, a, b))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Return flash attention of ``q`` (head size, tokens, heads) over a cache of rows of heads,
        as llama.cpp keeps it."""
        by_head = [self._call["ggml_permute"](self._context, t, 0, 2, 1, 3) for t in (k, v)]
        attend = self._call["ggml_flash_attn_ext"]
        return int(attend(self._context, q, *by_head, mask, 0.125, 0.0, 0.0))

    def supports(self, tensor: Tensor) -> bool:
        """Return whether the CPU can compute ``tensor`` from where its sources lie."""
        return bool(self._call["ggml_backend_dev_supports_op"](self._ggml.device, tensor))

    def part(self, results: Iterable[Tensor]) -> Callable[[], None]:
        """Return a function that computes ``results``, once everything has its place."""
        graph = self._call["ggml_new_graph_custom"](self._context, _GRAPH_SIZE, False)
        for result in results:
            self._call["ggml_build_forward_expand"](graph, result)
        compute, backend = self._call["ggml_backend_graph_compute"], self._ggml.backend
        return lambda: compute(backend, graph)

    def settle(self) -> None:
        """Give a place to every tensor that has none."""
        allocate = self._call["ggml_backend_alloc_ctx_tensors_from_buft"]
        self._buffer = allocate(self._context, self._ggml.plain_layout)
        if not self._buffer:
            raise MemoryError
        self._call["ggml_backend_buffer_clear"](self._buffer, 0)


def _bind(libraries: Iterable[ctypes.CDLL], name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of one of the libraries."""
    for library in libraries:
        function = getattr(library, name, None)
        if function is not None:
            function.restype, function.argtypes = result, arguments
            return function
    raise AttributeError(name)
