"""Which engine to build for a machine, and with which flags. Pure: facts in, a recipe out.

The flags are those of llama.cpp's CMake files (``ggml/CMakeLists.txt`` and those of the back
ends) inside llama-cpp-python 0.3.36.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from mlm.engine.amx import gets_amx_wrong
from mlm.engine.toolchain import Manager, Toolchain
from mlm.hardware.types import Accelerator, Hardware
from mlm.units import MIB

Backend = Literal["cpu", "cuda", "metal", "vulkan", "rocm"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

# What is not used here: fetching models, and reading films.
_ALWAYS = ("-DLLAMA_OPENSSL=OFF", "-DMTMD_VIDEO=OFF")
_SWITCH: dict[Backend, tuple[str, ...]] = {
    "cpu": (),
    "cuda": ("-DGGML_CUDA=ON",),
    "metal": ("-DGGML_METAL=ON",),
    "vulkan": ("-DGGML_VULKAN=ON",),
    "rocm": ("-DGGML_HIP=ON",),
}
_BACKEND_OF: dict[str, Backend] = {
    "cuda": "cuda",
    "rocm": "rocm",
    "metal": "metal",
    "vulkan": "vulkan",
    "sycl": "vulkan",  # Intel's own toolkit has 10 GB; Vulkan reaches the same GPUs
}
_JOB_BYTES = 1536 * MIB  # what a compiler takes for the largest files
_FIRST_GCC_WITH_AMX = 11
_FIRST_HIP = (6, 1)
# The compute capabilities that a CUDA compiler knows, from NVIDIA's release notes.
_OLDEST_KNOWN = ((13, (7, 5)), (12, (5, 0)))  # from this major version on
_NEWEST_KNOWN = (((8, 9), (11, 8)), ((10, 0), (12, 8)))  # from this capability on, needs CUDA

_COMPILER: dict[Manager, str] = {
    "apt": "build-essential", "dnf": "gcc gcc-c++ make", "pacman": "base-devel",
    "zypper": "gcc gcc-c++ make", "apk": "build-base linux-headers",
}  # fmt: skip
_CUDA: dict[Manager, str] = {
    "apt": "nvidia-cuda-toolkit", "dnf": "cuda-toolkit", "pacman": "cuda", "zypper": "cuda-toolkit",
}  # fmt: skip
_ROCM: dict[Manager, str] = {"pacman": "rocm-hip-sdk"}
_VULKAN: dict[Manager, str] = {
    "apt": "libvulkan-dev glslc spirv-headers",
    "dnf": "vulkan-headers vulkan-loader-devel glslc spirv-headers-devel",
    "pacman": "vulkan-headers vulkan-icd-loader shaderc spirv-headers",
    "zypper": "vulkan-devel shaderc spirv-headers",
    "apk": "vulkan-headers vulkan-loader-dev shaderc spirv-headers",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """Something without which the build would fail, and how to get it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build the engine here."""

    backend: Backend
    cmake_args: tuple[str, ...]
    jobs: int  # compilers at once
    reasons: tuple[str, ...]
    missing: tuple[Missing, ...]

    @property
    def cmake_line(self) -> str:
        """The value of CMAKE_ARGS."""
        return " ".join(self.cmake_args)


def choose_recipe(
    hardware: Hardware, tools: Toolchain, backend: Backend | Literal["auto"] = "auto"
) -> Recipe:
    """Return how to build the engine for ``hardware``; what is missing for that is in it."""
    if backend == "auto":
        chosen, why = _choose_backend(hardware, tools)
    else:
        chosen, why = backend, f"{backend} was asked for"
    flags, reasons = _flags(chosen, hardware, tools)
    return Recipe(
        backend=chosen,
        cmake_args=(*_SWITCH[chosen], *flags, *_ALWAYS),
        jobs=max(1, min(hardware.cpu.usable_cores, hardware.memory.usable // _JOB_BYTES)),
        reasons=(why, *reasons),
        missing=tuple(find_missing(chosen, hardware, tools)),
    )


def all_recipes(hardware: Hardware, tools: Toolchain) -> list[Recipe]:
    """Return a recipe for each back end that makes sense on this system; the best one first."""
    best = choose_recipe(hardware, tools)
    sensible = [b for b in BACKENDS if (b == "metal") <= (tools.system == "darwin")]
    if tools.system == "darwin":
        sensible = [b for b in sensible if b in ("cpu", "metal")]
    others = [choose_recipe(hardware, tools, b) for b in sensible if b != best.backend]
    return [best, *(replace(recipe, reasons=recipe.reasons[1:]) for recipe in others)]


def _choose_backend(hardware: Hardware, tools: Toolchain) -> tuple[Backend, str]:
    gpus = sorted(hardware.accelerators, key=lambda gpu: gpu.unified)  # one with its own memory
    if not gpus:
        return "cpu", "no GPU is seen"
    gpu = gpus[0]
    wanted = _BACKEND_OF[gpu.kind]
    lacking = find_missing(wanted, hardware, tools)
    if not lacking:
        return wanted, f"there is a GPU, {gpu.name}"
    names = " and ".join(missing.what for missing in lacking)
    has_vulkan = tools.has_vulkan_driver and not find_missing("vulkan", hardware, tools)
    if wanted != "vulkan" and has_vulkan:
        return "vulkan", f"{gpu.name} has a Vulkan driver, and {wanted} lacks {names}"
    if gpu.unified and gpu.kind not in ("metal", "cuda"):
        return "cpu", f"{gpu.name} shares the CPU's memory, and {wanted} lacks {names}"
    return wanted, f"there is a GPU, {gpu.name}"


def _flags(backend: Backend, hardware: Hardware, tools: Toolchain) -> tuple[list[str], list[str]]:
    """Return further flags, and the reasons for them."""
    flags, reasons = [], []
    if backend == "cuda":
        kinds = {kind for gpu in _cuda_gpus(hardware) if (kind := _architecture(gpu))}
        listed = ";".join(map(str, sorted(kinds))) or "all-major"
        flags.append(f"-DCMAKE_CUDA_ARCHITECTURES={listed}")
        if not kinds:
            reasons.append("no NVIDIA GPU is seen, so it is compiled for all kinds")
        if tools.nvcc is not None and " " not in str(tools.nvcc.path):  # CMAKE_ARGS has no quotes
            flags.append(f"-DCMAKE_CUDA_COMPILER={tools.nvcc.path.as_posix()}")
    if backend == "cpu" and tools.system == "darwin":
        flags.append("-DGGML_METAL=OFF")
    if _needs_no_amx(hardware, tools):
        flags += ["-DCMAKE_C_FLAGS=-mno-amx-int8", "-DCMAKE_CXX_FLAGS=-mno-amx-int8"]
        reasons.append("this GCC compiles AMX wrongly (GCC bug 114098), so it is left out")
    return flags, reasons


def _needs_no_amx(hardware: Hardware, tools: Toolchain) -> bool:
    if not tools.is_gcc or tools.compiler is None or tools.compiler.version is None:
        return False
    major, minor = tools.compiler.version
    knows_amx = major >= _FIRST_GCC_WITH_AMX and "amx_int8" in hardware.cpu.isa
    return knows_amx and gets_amx_wrong(major, minor)


def find_missing(backend: Backend, hardware: Hardware, tools: Toolchain) -> list[Missing]:
    """Return what has to be installed before the engine can be built with ``backend``."""
    missing = []
    if tools.compiler is None:
        missing.append(Missing("a C++ compiler", _compiler_fix(tools)))
    if backend == "cuda":
        missing += _missing_for_cuda(hardware, tools)
    elif backend == "rocm":
        missing += _missing_for_rocm(tools)
    elif backend == "vulkan":
        missing += _missing_for_vulkan(tools)
    elif backend == "metal" and tools.system != "darwin":
        missing.append(Missing("macOS", "mlm engine install --backend auto"))
    elif backend == "metal" and tools.machine != "arm64":
        missing.append(
            Missing("a Python for Apple chips: this one runs as an Intel program",
                    "install the arm64 Python and mlm in it")
        )  # fmt: skip
    return missing


def _compiler_fix(tools: Toolchain) -> str:
    if tools.system == "darwin":
        return "xcode-select --install"
    if tools.system == "win32":
        return "install Visual Studio Build Tools with 'Desktop development with C++'"
    return tools.install_line(_COMPILER) or "install GCC or Clang"


def _missing_for_cuda(hardware: Hardware, tools: Toolchain) -> list[Missing]:
    if tools.nvcc is None:
        fix = tools.install_line(_CUDA) or "install NVIDIA's CUDA toolkit"
        return [Missing("the CUDA compiler nvcc", fix)]
    version, driver = tools.nvcc.version, tools.cuda_driver
    if version is None:
        return []
    found = f"nvcc is of CUDA {version[0]}.{version[1]}"
    if driver is not None and version[0] > driver[0]:
        return [Missing(
            f"a driver for CUDA {version[0]} ({found}, the driver runs CUDA {driver[0]})",
            f"update the NVIDIA driver, or install the CUDA {driver[0]} toolkit",
        )]  # fmt: skip
    for gpu in _cuda_gpus(hardware):
        capability = _capability(gpu)
        if capability is None:
            continue
        oldest = next((old for major, old in _OLDEST_KNOWN if version[0] >= major), (0, 0))
        if capability < oldest:
            return [Missing(
                f"an older CUDA toolkit: {found}, which no longer knows the {gpu.name}",
                "install the CUDA 12 toolkit, or mlm engine install --backend vulkan",
            )]  # fmt: skip
        needed = max((cuda for new, cuda in _NEWEST_KNOWN if capability >= new), default=(0, 0))
        if version < needed:
            wanted = f"CUDA {needed[0]}.{needed[1]} or newer"
            return [Missing(
                f"{wanted}: {found}, which does not know the {gpu.name}",
                f"install the toolkit of {wanted}",
            )]  # fmt: skip
    return []


def _missing_for_rocm(tools: Toolchain) -> list[Missing]:
    wanted = f"ROCm {_FIRST_HIP[0]}.{_FIRST_HIP[1]} or newer"
    fix = tools.install_line(_ROCM) or f"install AMD's HIP SDK of {wanted}"
    if tools.rocm is None:
        return [Missing(f"{wanted} with hipcc", fix)]
    if tools.rocm.version is not None and tools.rocm.version < _FIRST_HIP:
        major, minor = tools.rocm.version
        return [Missing(f"{wanted} (here is {major}.{minor})", fix)]
    return []


def _missing_for_vulkan(tools: Toolchain) -> list[Missing]:
    lacking = []
    if tools.glslc is None:
        lacking.append("the shader compiler glslc")
    if not tools.has_vulkan_headers:
        lacking.append("the Vulkan headers")
    if not lacking:
        return []
    fix = tools.install_line(_VULKAN) or "install the Vulkan SDK"
    return [Missing(" and ".join(lacking), fix)]


def _cuda_gpus(hardware: Hardware) -> list[Accelerator]:
    return [gpu for gpu in hardware.accelerators if gpu.kind == "cuda"]


def _capability(gpu: Accelerator) -> tuple[int, int] | None:
    if gpu.compute_capability is None:
        return None
    major, _, minor = gpu.compute_capability.partition(".")
    return int(major), int(minor)


def _architecture(gpu: Accelerator) -> int | None:
    """Return a compute capability as CMake has it: 8.9 is 89."""
    capability = _capability(gpu)
    return None if capability is None else capability[0] * 10 + capability[1]
