"""Second copies of weights that llama.cpp makes for the kernels of a CPU.

With a mapped file they come on top of the file itself. The rules are those of
``ggml/src/ggml-cpu/repack.cpp`` and ``ggml/src/ggml-cpu/amx`` in the llama.cpp inside
llama-cpp-python 0.3.36; the names of instruction sets are those of `mlm.hardware.types.Cpu.isa`.
"""

from collections.abc import Iterable, Set

from mlm.planning.types import Weight

# AMX: type -> bytes that each block of 32 or 256 elements grows by
_AMX = {"Q4_0": 0, "Q4_1": 0, "Q8_0": 4, "Q4_K": 4, "Q5_K": 4, "Q6_K": 0, "IQ4_XS": 2}
_AMX_BLOCKS = {"Q4_0": 32, "Q4_1": 32, "Q8_0": 32}
_AMX_ROWS = 32  # the number of rows must be a multiple
# Others: type -> the number of which the rows must be a multiple
_AVX2 = {"Q4_0": 8, "Q4_K": 8, "IQ4_NL": 8, "MXFP4": 8}
_AVX512 = {"Q2_K": 8}
_NEON = {
    "Q4_0": 4, "Q4_K": 8, "Q5_K": 8, "Q6_K": 8, "IQ4_NL": 4, "MXFP4": 4, "Q8_0": 4, "Q1_0": 4,
}  # fmt: skip


def repacked_bytes(weight: Weight, isa: Set[str]) -> int:
    """Return the bytes of the second copy of ``weight`` on a CPU with ``isa``; 0: there is none."""
    if weight.role not in ("matrix", "experts"):
        return 0
    if weight.role == "matrix" and {"amx_int8", "avx512_vnni"} <= isa:
        block = _AMX_BLOCKS.get(weight.type_name, 256)
        if weight.type_name in _AMX and weight.rows % _AMX_ROWS == 0 and weight.row % block == 0:
            blocks = weight.row * weight.rows // block
            return weight.n_bytes + blocks * _AMX[weight.type_name]
    multiple = _multiples(isa).get(weight.type_name)
    # The experts of one matrix lie one after the other; each has rows that divide as the whole.
    return weight.n_bytes if multiple and weight.rows % multiple == 0 else 0


def _multiples(isa: Set[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    if "neon" in isa and isa & {"dotprod", "i8mm"}:
        found |= _NEON
    if "avx512f" in isa or "avx512" in isa:
        found |= _AVX512
    if "avx2" in isa:
        found |= _AVX2
    return found


def split_repacked(weights: Iterable[Weight], isa: Set[str]) -> tuple[list[Weight], int]:
    """Return the weights that are used as they are in the file, and the bytes of the others."""
    plain, copied = [], 0
    for weight in weights:
        size = repacked_bytes(weight, isa)
        copied += size
        if not size:
            plain.append(weight)
    return plain, copied
