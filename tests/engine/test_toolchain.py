"""What there is to build with is found where it usually is, and asked for its version."""

import sys
from pathlib import Path

import pytest

from mlm.engine.toolchain import Tool, find_toolchain

GCC = """g++ (Debian 12.2.0-14+deb12u1) 12.2.0
Copyright (C) 2022 Free Software Foundation, Inc.
This is free software; see the source for copying conditions."""
CLANG = "Ubuntu clang version 18.1.3 (1ubuntu1)\nTarget: x86_64-pc-linux-gnu"
NVCC = """nvcc: NVIDIA (R) Cuda compiler driver
Cuda compilation tools, release 12.4, V12.4.131"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts as programs")


@pytest.fixture
def bin_folder(tmp_path: Path):
    """Return a function that plants a program which prints a text."""

    def plant(name: str, text: str = "", folder: str = "bin") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n" if text else "#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
        return path

    return plant


def look(tmp_path: Path, **environ: str):
    path = f"{tmp_path / 'bin'}:/bin:/usr/bin" if "PATH" not in environ else environ["PATH"]
    return find_toolchain({**environ, "PATH": path}, tmp_path)


def test_a_bare_machine_has_nothing(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    found = look(tmp_path, PATH=str(tmp_path / "empty"))
    assert (found.compiler, found.nvcc, found.rocm, found.glslc) == (None, None, None, None)
    assert not found.has_vulkan_headers and not found.has_vulkan_driver
    assert found.manager is None and found.install_line({"apt": "x"}) is None


def test_compilers_tell_their_kind_and_version(tmp_path: Path, bin_folder):
    path = bin_folder("c++", GCC)
    found = look(tmp_path)
    assert (found.compiler, found.is_gcc) == (Tool(path, (12, 2)), True)
    other = bin_folder("my-clang", CLANG)
    found = look(tmp_path, CXX=f"{other} -m64")
    assert (found.compiler, found.is_gcc) == (Tool(other, (18, 1)), False)


def test_a_program_that_only_offers_to_install_the_compiler_is_none(tmp_path: Path, bin_folder):
    bin_folder("c++")
    assert look(tmp_path, PATH=str(tmp_path / "bin")).compiler is None


def test_the_cuda_compiler_is_found_beside_the_path(tmp_path: Path, bin_folder):
    path = bin_folder("nvcc", NVCC, "usr/local/cuda/bin")
    assert look(tmp_path, PATH="/bin:/usr/bin").nvcc == Tool(path, (12, 4))
    other = bin_folder("nvcc", NVCC.replace("12.4", "13.0"), "opt/cuda/bin")
    found = look(tmp_path, PATH="/bin:/usr/bin", CUDA_HOME=str(tmp_path / "opt/cuda"))
    assert found.nvcc == Tool(other, (13, 0))


def test_rocm_tells_its_version_in_a_file(tmp_path: Path, bin_folder):
    bin_folder("hipcc", "HIP version: 6.2", "opt/rocm/bin")
    (tmp_path / "opt/rocm/.info").mkdir()
    (tmp_path / "opt/rocm/.info/version").write_text("6.2.4-120\n")
    assert look(tmp_path).rocm == Tool(tmp_path / "opt/rocm", (6, 2))


def test_vulkan_that_only_pretends_on_the_cpu_is_no_driver(tmp_path: Path, bin_folder):
    folder = tmp_path / "usr/share/vulkan/icd.d"
    folder.mkdir(parents=True)
    (folder / "lvp_icd.x86_64.json").write_text("{}")
    assert not look(tmp_path).has_vulkan_driver
    (folder / "radeon_icd.x86_64.json").write_text("{}")
    (tmp_path / "usr/include/vulkan").mkdir(parents=True)
    (tmp_path / "usr/include/vulkan/vulkan.h").write_text("")
    glslc = bin_folder("glslc")
    found = look(tmp_path)
    assert found.has_vulkan_driver and found.has_vulkan_headers and found.glslc == Tool(glslc)
