"""Which engine is built for which machine: hardware and tools in, a recipe out."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fake_nvml import FakeNvml

from mlm.engine.recipe import BACKENDS, all_recipes, choose_recipe
from mlm.engine.toolchain import Tool, Toolchain
from mlm.hardware.apple import describe_cpu, describe_gpu, parse_sysctl
from mlm.hardware.cpu import parse_cpuinfo
from mlm.hardware.nvidia import probe_nvml
from mlm.hardware.types import Accelerator, Cpu, Hardware, Memory
from mlm.units import GIB

CAPTURED = Path(__file__).parents[1] / "fixtures" / "hardware"
MEMORY = Memory(64 * GIB, 60 * GIB, None, 60 * GIB)
RX7900 = Accelerator(0, "RX 7900 XTX", "rocm", 24 * GIB, 24 * GIB, None)
RADEON_780M = Accelerator(0, "Radeon 780M", "rocm", 16 * GIB, 16 * GIB, None, unified=True)
ARC = Accelerator(0, "Arc A770", "sycl", 16 * GIB, 16 * GIB, None)

GCC = Tool(Path("/usr/bin/c++"), (14, 2))
PLAIN = Toolchain("linux", "x86_64", compiler=GCC, is_gcc=True, manager="apt")
CUDA = replace(PLAIN, nvcc=Tool(Path("/usr/local/cuda/bin/nvcc"), (12, 8)), cuda_driver=(12, 8))
ROCM = replace(PLAIN, rocm=Tool(Path("/opt/rocm"), (6, 3)))
VULKAN = replace(
    PLAIN, glslc=Tool(Path("/usr/bin/glslc")), has_vulkan_headers=True, has_vulkan_driver=True
)
MAC = Toolchain("darwin", "arm64", compiler=Tool(Path("/usr/bin/c++"), (16, 0)))


def linux(cpu: str = "ryzen-smt", *gpus: Accelerator, nvml: str | None = None) -> Hardware:
    info = parse_cpuinfo((CAPTURED / "cpuinfo" / f"{cpu}.txt").read_text())
    described = Cpu(info.name, info.physical_cores, info.logical_cores, 8, info.isa)
    if nvml:
        gpus = probe_nvml(FakeNvml(f"{nvml}.json"), {}).accelerators
    return Hardware(described, MEMORY, gpus, None, "fingerprint")


def mac(name: str) -> Hardware:
    values = parse_sysctl((CAPTURED / "sysctl" / f"{name}.txt").read_text())
    gpus = describe_gpu(values, MEMORY).accelerators
    return Hardware(describe_cpu(values), MEMORY, gpus, None, "fingerprint")


@pytest.mark.parametrize(
    ("hardware", "tools", "backend", "flag"),
    [
        (linux(), PLAIN, "cpu", None),
        (linux(), CUDA, "cpu", None),
        (linux("graviton-3"), replace(PLAIN, machine="aarch64"), "cpu", None),
        (linux(nvml="h100-nvl"), CUDA, "cuda", "-DCMAKE_CUDA_ARCHITECTURES=90"),
        (linux(nvml="rtx-4090-and-3060"), CUDA, "cuda", "-DCMAKE_CUDA_ARCHITECTURES=86;89"),
        (linux(nvml="a100-mig"), CUDA, "cuda", "-DCMAKE_CUDA_ARCHITECTURES=80"),
        (linux("ryzen-smt", RX7900), ROCM, "rocm", "-DGGML_HIP=ON"),
        (linux("ryzen-smt", RX7900), VULKAN, "vulkan", "-DGGML_VULKAN=ON"),
        (linux("ryzen-smt", ARC), VULKAN, "vulkan", "-DGGML_VULKAN=ON"),
        (linux("ryzen-smt", RADEON_780M), PLAIN, "cpu", None),
        (linux("ryzen-smt", RADEON_780M), VULKAN, "vulkan", "-DGGML_VULKAN=ON"),
        (linux("ryzen-smt", RADEON_780M, RX7900), ROCM, "rocm", "-DGGML_HIP=ON"),
        (mac("m2-max-64gb"), MAC, "metal", "-DGGML_METAL=ON"),
        (mac("intel-mac-16gb"), replace(MAC, machine="x86_64"), "cpu", "-DGGML_METAL=OFF"),
    ],
)
def test_the_engine_suits_the_machine(hardware, tools, backend, flag):
    recipe = choose_recipe(hardware, tools)
    assert (recipe.backend, recipe.missing) == (backend, ())
    assert flag is None or flag in recipe.cmake_args
    others = {"-DGGML_CUDA=ON", "-DGGML_HIP=ON", "-DGGML_METAL=ON", "-DGGML_VULKAN=ON"}
    assert len(others & set(recipe.cmake_args)) == (backend != "cpu")


@pytest.mark.parametrize(
    ("hardware", "tools", "what", "fix"),
    [
        (linux(), replace(PLAIN, compiler=None), "C++ compiler",
         "sudo apt install build-essential"),
        (linux(), replace(PLAIN, compiler=None, manager="apk", needs_sudo=False), "C++ compiler",
         "apk add build-base linux-headers"),
        (linux(), replace(PLAIN, compiler=None, manager=None), "C++ compiler", "GCC or Clang"),
        (mac("m2-max-64gb"), replace(MAC, compiler=None), "C++ compiler", "xcode-select --install"),
        (mac("m2-max-64gb"), replace(MAC, machine="x86_64"), "Python for Apple chips", "arm64"),
        (linux(nvml="h100-nvl"), PLAIN, "nvcc", "sudo apt install nvidia-cuda-toolkit"),
        (linux(nvml="h100-nvl"), replace(CUDA, cuda_driver=(11, 4)), "the driver runs CUDA 11",
         "update the NVIDIA driver"),
        (linux(nvml="h100-nvl"), replace(CUDA, nvcc=Tool(Path("nvcc"), (11, 5))),
         "does not know the H100", "CUDA 11.8 or newer"),
        (linux("ryzen-smt", RX7900), PLAIN, "ROCm 6.1 or newer with hipcc", "HIP SDK"),
        (linux("ryzen-smt", RX7900), replace(ROCM, rocm=Tool(Path("/usr"), (5, 2))),
         "(here is 5.2)", "HIP SDK"),
        (linux("ryzen-smt", ARC), PLAIN, "glslc and the Vulkan headers",
         "sudo apt install libvulkan-dev glslc spirv-headers"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_the_command_that_installs_it(hardware, tools, what, fix):
    (missing,) = choose_recipe(hardware, tools).missing
    assert what in missing.what
    assert fix in missing.fix


def test_a_gpu_that_cuda_13_has_forgotten_needs_the_older_toolkit():
    old = Accelerator(0, "GTX 1080", "cuda", 8 * GIB, 8 * GIB, None, compute_capability="6.1")
    tools = replace(CUDA, nvcc=Tool(Path("nvcc"), (13, 0)), cuda_driver=(13, 0))
    (missing,) = choose_recipe(linux("ryzen-smt", old), tools).missing
    assert "no longer knows the GTX 1080" in missing.what


@pytest.mark.parametrize(
    ("cpu", "version", "is_gcc", "left_out"),
    [
        ("xeon-amx-2core", (12, 2), True, True),
        ("xeon-amx-2core", (13, 3), True, False),
        ("xeon-amx-2core", (12, 2), False, False),
        ("xeon-amx-2core", (10, 2), True, False),  # which does not know the flag, nor AMX
        ("ryzen-smt", (12, 2), True, False),
    ],
)
def test_amx_is_left_out_where_the_compiler_gets_it_wrong(cpu, version, is_gcc, left_out):
    tools = replace(PLAIN, compiler=Tool(Path("/usr/bin/c++"), version), is_gcc=is_gcc)
    recipe = choose_recipe(linux(cpu), tools)
    assert ("-DCMAKE_CXX_FLAGS=-mno-amx-int8" in recipe.cmake_args) is left_out


def test_a_back_end_that_was_asked_for_is_taken_even_where_nothing_is_seen_for_it():
    recipe = choose_recipe(linux(), CUDA, "cuda")
    assert recipe.backend == "cuda"
    assert "-DCMAKE_CUDA_ARCHITECTURES=all-major" in recipe.cmake_args


def test_as_many_compilers_run_as_the_memory_has_room_for():
    tight = replace(linux(), memory=Memory(4 * GIB, 3 * GIB, None, 3 * GIB))
    assert choose_recipe(tight, PLAIN).jobs == 2
    assert choose_recipe(linux(), PLAIN).jobs == 8


def test_no_argument_has_a_space_at_which_it_would_be_cut():
    tools = replace(CUDA, nvcc=Tool(Path("/Program Files/CUDA/nvcc"), (12, 8)))
    for backend in BACKENDS:
        for argument in choose_recipe(linux("xeon-amx-2core"), tools, backend).cmake_args:
            assert " " not in argument


def test_what_else_could_be_built_is_listed_after_the_best():
    names = [recipe.backend for recipe in all_recipes(linux(nvml="h100-nvl"), CUDA)]
    assert names == ["cuda", "cpu", "vulkan", "rocm"]
    assert [recipe.backend for recipe in all_recipes(mac("m2-max-64gb"), MAC)] == ["metal", "cpu"]
