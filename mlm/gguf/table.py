"""The tensor table of a header."""

import math
import struct

from mlm.gguf.errors import GGUFError
from mlm.gguf.ggml_types import REMOVED_TYPES, TENSOR_TYPES, TensorType
from mlm.gguf.pairs import read_name
from mlm.gguf.source import Window
from mlm.gguf.types import TensorInfo

MAX_TENSORS = 32_768  # 64 for each of llama.cpp's at most 512 layers
MAX_NAME_BYTES = 63  # GGML_MAX_NAME with its closing zero is 64
MAX_DIMENSIONS = 4
_U32 = struct.Struct("<I")
_TYPE_AND_OFFSET = struct.Struct("<IQ")
_SHAPES = tuple(struct.Struct(f"<{n}Q") for n in range(MAX_DIMENSIONS + 1))


def read_table(window: Window, count: int, alignment: int) -> tuple[TensorInfo, ...]:
    """Return the tensors of the header.

    Raises:
        GGUFError: a row breaks GGUF's rules; llama.cpp would refuse the file, or read outside it.
    """
    names: set[str] = set()
    tensors = []
    offset = 0
    for _ in range(count):
        tensor = _read_row(window)
        if tensor.name in names:
            raise GGUFError(f"it has the tensor {tensor.name} twice")
        if tensor.offset != offset:
            raise GGUFError(
                f"tensor {tensor.name} is at {tensor.offset}, but the one before ends at {offset}"
            )
        names.add(tensor.name)
        tensors.append(tensor)
        offset = pad(offset + tensor.n_bytes, alignment)
    return tuple(tensors)


def pad(size: int, alignment: int) -> int:
    """Return ``size`` rounded up to a multiple of ``alignment``, a power of two."""
    return (size + alignment - 1) & -alignment


def _read_row(window: Window) -> TensorInfo:
    name = read_name(window, "the name of a tensor", MAX_NAME_BYTES)
    (dimensions,) = window.unpack(_U32, "the tensor table")
    if dimensions > MAX_DIMENSIONS:
        raise GGUFError(f"tensor {name} has {dimensions} dimensions, at most 4 are possible")
    shape = window.unpack(_SHAPES[dimensions], "the tensor table")
    kind, offset = window.unpack(_TYPE_AND_OFFSET, "the tensor table")
    tensor_type = _tensor_type(name, kind)
    elements = math.prod(shape)
    if elements == 0 or elements >= 2**63:
        raise GGUFError(f"tensor {name} has the impossible shape {shape}")
    row = shape[0] if shape else 1
    if row % tensor_type.block:
        raise GGUFError(
            f"tensor {name} has rows of {row} elements, {tensor_type.name} comes in blocks of "
            f"{tensor_type.block}"
        )
    n_bytes = elements // tensor_type.block * tensor_type.n_bytes
    return TensorInfo(name, shape, tensor_type.name, n_bytes, offset)


def _tensor_type(name: str, kind: int) -> TensorType:
    if kind in TENSOR_TYPES:
        return TENSOR_TYPES[kind]
    if kind in REMOVED_TYPES:
        raise GGUFError(
            f"tensor {name} has the type {kind}, which llama.cpp no longer reads",
            remedy="use a Q4_0 or Q4_K_M file of this model",
        )
    raise GGUFError(f"tensor {name} has the unknown type {kind}")
