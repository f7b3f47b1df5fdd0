"""Looks into the tensors of a file for numbers that cannot be meant: NaN, infinity, nothing at all.

Only what decides is read closely: the scales of quantized blocks. One byte in 34 to 288 of the
file then, taken with slices and tables, which run as fast as memory; no numpy is needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlm.gguf.finding import Finding, error, info, name_some, warn
from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.gguf.source import ByteSource
from mlm.gguf.types import GGUFHeader, TensorInfo
from mlm.units import KIB, MIB

SAMPLE_BYTES = 256 * KIB  # at the beginning, in the middle and at the end of a tensor
_CHUNK_BYTES = 4 * MIB
_AGAIN = "mlm verify says whether it is what was published; if so, use another conversion"

# Where the 16-bit floats of a block are (ggml-common.h): their first bytes.
_SCALES: dict[str, tuple[int, ...]] = {
    "F16": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q8_1": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2),
    "Q6_K": (208,), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,),
    "IQ3_S": (0,), "IQ1_S": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,), "TQ1_0": (52,), "TQ2_0": (64,),
    "Q1_0": (0,), "Q2_0": (0,),
}  # fmt: skip
# Types that are, or begin with, a 32-bit number whose upper half is as good as a bfloat16.
_WIDE: dict[str, int] = {"F32": 2, "BF16": 0, "Q8_K": 2}  # first byte of that half
_E8M0 = {"MXFP4": 0}  # an exponent in one byte; 255 is NaN

_FULL_EXPONENT_F16 = bytes(byte & 0x7C == 0x7C for byte in range(256))
_FULL_EXPONENT_HIGH = bytes(byte & 0x7F == 0x7F for byte in range(256))
_FULL_EXPONENT_LOW = bytes(byte >> 7 for byte in range(256))
_ALL_ONES = bytes(byte == 0xFF for byte in range(256))


@dataclass(slots=True)
class _Seen:
    """What was found so far: names of tensors."""

    broken: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    n_matrices: int = 0
    n_empty_matrices: int = 0
    n_sampled: int = 0


def lint_data(
    source: ByteSource,
    header: GGUFHeader,
    *,
    whole: bool = False,
    on_bytes: Callable[[int], None] = lambda done: None,
) -> list[Finding]:
    """Return what is wrong with the numbers in the tensors of ``header``.

    A part of each tensor is read, or the ``whole`` of it; ``on_bytes`` hears how far it is.
    """
    seen = _Seen()
    for tensor in header.tensors:
        _look_at(source, header.header_bytes + tensor.offset, tensor, whole, seen)
        on_bytes(header.header_bytes + tensor.offset + tensor.n_bytes)
    return list(_judge(seen))


def _look_at(source: ByteSource, start: int, tensor: TensorInfo, whole: bool, seen: _Seen) -> None:
    is_empty, is_broken, n_read = True, False, 0
    for offset, length in _pieces(tensor, whole):
        n_read += length
        data = source.read(start + offset, length)
        is_empty = is_empty and data.count(0) == len(data)
        is_broken = is_broken or has_nonsense(tensor.type_name, data)
    is_matrix = len(tensor.shape) > 1
    seen.n_sampled += n_read < tensor.n_bytes
    seen.n_matrices += is_matrix
    if is_broken:
        seen.broken.append(tensor.name)
    if is_empty and is_matrix:
        seen.n_empty_matrices += 1
        seen.empty.append(tensor.name)


def _pieces(tensor: TensorInfo, whole: bool) -> Iterator[tuple[int, int]]:
    """Yield offset and length of what to read, in whole blocks."""
    block = TYPES_BY_NAME[tensor.type_name].n_bytes
    size, sample = tensor.n_bytes, SAMPLE_BYTES - SAMPLE_BYTES % block
    if whole or size <= 3 * sample:
        step = _CHUNK_BYTES - _CHUNK_BYTES % block
        yield from ((offset, min(step, size - offset)) for offset in range(0, size, step))
        return
    middle = size // 2 - size // 2 % block
    yield from ((0, sample), (middle, sample), (size - sample, sample))


def has_nonsense(type_name: str, data: bytes) -> bool:
    """Return whether a scale, or a plain number, in whole blocks of ``data`` is NaN or infinite."""
    stride = TYPES_BY_NAME[type_name].n_bytes
    if type_name in _SCALES:  # the upper byte of a 16-bit float has its whole exponent
        return any(
            1 in data[at + 1 :: stride].translate(_FULL_EXPONENT_F16) for at in _SCALES[type_name]
        )
    if type_name in _WIDE:
        at = _WIDE[type_name]
        high = data[at + 1 :: stride].translate(_FULL_EXPONENT_HIGH)
        if 1 not in high:
            return False
        low = data[at::stride].translate(_FULL_EXPONENT_LOW)
        return bool(int.from_bytes(high) & int.from_bytes(low))
    if type_name in _E8M0:
        return 1 in data[_E8M0[type_name] :: stride].translate(_ALL_ONES)
    return False


def _judge(seen: _Seen) -> Iterator[Finding]:
    if seen.broken:
        yield error(
            "tensor-nan",
            f"NaN or infinity in {name_some(seen.broken)}",
            "every answer that touches it is nonsense",
            _AGAIN,
        )
    if seen.empty and seen.n_empty_matrices == seen.n_matrices:
        yield error(
            "tensor-zero",
            "all of its tensors are zeros" if not seen.n_sampled else "it seems to be all zeros",
            "the file was never filled: a download that only reserved its space",
            "mlm download REF --force",
        )
    elif seen.empty:
        yield warn(
            "tensor-zero",
            f"only zeros in {name_some(seen.empty)}",
            "a part of the model does nothing: a faulty copy or conversion",
            _AGAIN,
        )
    if seen.n_sampled:
        what = f"of {seen.n_sampled} tensors three pieces each were read"
        yield info("sampled", what, "--full reads all of them")
