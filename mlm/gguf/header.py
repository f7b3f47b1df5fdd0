"""Reads the header of any GGUF file: a model, a shard of one, a projector, an adapter.

Nothing in it is believed before it has been checked: this runs before llama.cpp, whose parser
aborts or worse on hostile files.
"""

import struct

from mlm.gguf.errors import GGUFError
from mlm.gguf.looks import describe
from mlm.gguf.pairs import MAX_PAIRS, Pairs
from mlm.gguf.source import ByteSource, Window, truncated
from mlm.gguf.table import MAX_TENSORS, pad, read_table
from mlm.gguf.types import GGUFHeader, TensorInfo

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
_ALIGNMENT = "general.alignment"
_UINT32 = 4  # GGUF's number of the type
_FIXED = struct.Struct("<IQQ")  # version, tensors, pairs
_DOWNLOAD_AGAIN = "download it again: mlm download REF --force"


def read_header(source: ByteSource, keep: frozenset[str] = frozenset()) -> GGUFHeader:
    """Return the header of ``source``, fully validated.

    The arrays of the vocabulary named in ``keep`` are kept whole; other long ones are left out.

    Raises:
        GGUFError: it is not a GGUF file, is cut off, or breaks the rules of the format.
    """
    window = Window(source)
    _check_magic(window)
    version, n_tensors, n_pairs = window.unpack(_FIXED, "the header")
    _check_version(version)
    if n_tensors > MAX_TENSORS or n_pairs > MAX_PAIRS:
        raise GGUFError(f"it claims {n_tensors} tensors and {n_pairs} keys, more than any model")
    pairs = Pairs(keep=keep)
    for _ in range(n_pairs):
        pairs.read(window)
    alignment = _alignment(pairs)
    tensors = read_table(window, n_tensors, alignment)
    header_bytes = pad(window.offset, alignment) if tensors else window.offset
    _check_end(tensors, header_bytes, source.size)
    return GGUFHeader(
        version=version,
        values=pairs.values,
        array_lengths=pairs.array_lengths,
        tensors=tensors,
        header_bytes=header_bytes,
        file_size=source.size,
    )


def _check_magic(window: Window) -> None:
    window.require(min(window.left, 512), "the header")
    head = window.buffer[:512]
    if not head.startswith(MAGIC):
        raise GGUFError(f"it is not a GGUF file but {describe(head)}", remedy=_DOWNLOAD_AGAIN)
    window.position = len(MAGIC)


def _check_version(version: int) -> None:
    if version in VERSIONS:
        return
    if version & 0xFFFF == 0:
        raise GGUFError(
            "it is a big-endian GGUF file, made for another kind of processor",
            remedy="use the ordinary file of this model",
        )
    raise GGUFError(
        f"it is GGUF version {version}, llama.cpp reads versions 2 and 3",
        remedy="use a newer conversion of this model",
    )


def _alignment(pairs: Pairs) -> int:
    if _ALIGNMENT not in pairs.kinds:
        return DEFAULT_ALIGNMENT
    alignment = pairs.values.get(_ALIGNMENT)
    if pairs.kinds[_ALIGNMENT] != _UINT32 or not isinstance(alignment, int):
        raise GGUFError(f"{_ALIGNMENT} is not a 32-bit number")
    if alignment == 0 or alignment & (alignment - 1):
        raise GGUFError(f"{_ALIGNMENT} is {alignment}, not a power of two")
    return alignment


def _check_end(tensors: tuple[TensorInfo, ...], start: int, size: int) -> None:
    """Check that the data of every tensor lies inside the file; the last one ends last."""
    if not tensors:
        return
    last = tensors[-1]
    if start + last.offset + last.n_bytes > size:
        raise truncated(f"the data of tensor {last.name}", size)
