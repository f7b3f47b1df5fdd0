"""Kinds of machines that people name without listing their parts, and what is assumed of each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_AVX2 = ("sse4_2", "avx", "f16c", "fma", "bmi2", "avx2")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512_vnni")
_ARM = ("neon", "fp16", "dotprod")
# Of the peak in a data sheet, a processor really reads 70 to 80 %.
_READ_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of machine without a card. Bandwidth is what the processor can really read."""

    cores: int
    threads_per_core: int
    bandwidth_bytes_per_s: int
    memory: str  # what the bandwidth comes from
    isa: tuple[str, ...]


def _kind(cores: int, threads: int, peak: float, memory: str, isa: tuple[str, ...]) -> Kind:
    return Kind(cores, threads, round(peak * _READ_SHARE * 10**9), f"75 % of {memory}", isa)


# Peaks are channels x 8 bytes x transfers per second. The Raspberry Pi's 32-bit bus is shared with
# its GPU: Cortex-A72 cores read about 4 of 12.8 GB/s, Cortex-A76 ones about 10 of 17.1, as public
# STREAM and llama.cpp results of both boards agree.
KINDS: Mapping[str, Kind] = {
    "laptop": _kind(4, 2, 51.2, "two channels of DDR4-3200", _AVX2),
    "desktop": _kind(6, 2, 76.8, "two channels of DDR5-4800", _AVX2),
    "old laptop": _kind(2, 2, 25.6, "two channels of DDR3-1600", ("sse4_2", "avx")),
    "old desktop": _kind(4, 1, 25.6, "two channels of DDR3-1600", ("sse4_2", "avx")),
    "mini pc": _kind(4, 1, 38.4, "one channel of DDR5-4800", _AVX2),
    "server": _kind(32, 2, 204.8, "eight channels of DDR4-3200", _AVX512),
    "raspberry pi 4": Kind(4, 1, 4 * 10**9, "what such boards read", ("neon",)),
    "raspberry pi 5": Kind(4, 1, 10 * 10**9, "what such boards read", _ARM),
}
_SIZES_OF_PI_4 = (1, 2, 4, 8)  # GiB; larger ones can only be a Raspberry Pi 5

# Machines that are sold whole: the makers' and clouds' own pages.
_ALIASES = {
    "strix halo": "Ryzen AI Max+ 395", "framework desktop": "Ryzen AI Max+ 395",
    "g4dn.xlarge": "T4, 16GB, 2 cores", "g5.xlarge": "A10, 16GB, 2 cores",
    "g6.xlarge": "L4, 16GB, 2 cores", "g6e.xlarge": "L40S, 32GB, 2 cores",
    "p4d.24xlarge": "8x A100 40GB, 1152GB, 48 cores", "p5.48xlarge": "8x H100, 2048GB, 96 cores",
    "g2-standard-4": "L4, 16GB, 2 cores", "a2-highgpu-1g": "A100 40GB, 85GB, 6 cores",
    "a3-highgpu-8g": "8x H100, 1872GB, 104 cores",
}  # fmt: skip
# The case around an Apple chip says nothing of its speed, and "Pro" there is not the chip's.
_APPLE_CASES = re.compile(r"\b(?:mac\s?book\s(?:pro|air)|mac\s(?:mini|studio|pro)|imac)\b")


def expand_alias(text: str) -> str:
    """Return the parts of a machine that is sold whole; any other text without a Mac's case."""
    plain = " ".join(text.lower().split())
    for name, parts in _ALIASES.items():
        spelled = re.escape(name).replace(r"\ ", "[ -]")
        if found := re.match(rf"{spelled}(?=[\s,-]|$)", plain):
            return parts + plain[found.end() :].replace("-", " ")
    bare = _APPLE_CASES.sub(" ", text.lower())
    return bare if bare != text.lower() and re.search(r"\bm\d", bare) else text


def find_kind(words: str, memory_gib: float | None) -> str | None:
    """Return the kind of machine that ``words`` name; a bare "Raspberry Pi" is the slower one."""
    name = " ".join(words.lower().replace("-", " ").split())
    if name in ("raspberry pi", "pi"):
        return "raspberry pi 4" if memory_gib in (None, *_SIZES_OF_PI_4) else "raspberry pi 5"
    name = re.sub(r"^pi ", "raspberry pi ", name).removesuffix(" model b")
    return name if name in KINDS else None


def machine_names() -> list[str]:
    """Return the names to offer, each as it can be typed."""
    sized = [f"{size} {kind}" for kind in ("laptop", "desktop") for size in ("8GB", "16GB", "32GB")]
    others = ["8GB old laptop", "16GB old desktop", "16GB mini pc", "256GB server"]
    boards = ["Raspberry Pi 4 4GB", "Raspberry Pi 4 8GB", "Raspberry Pi 5 8GB"]
    return [*sized, *others, *boards, "Raspberry Pi 5 16GB", *_ALIASES]
