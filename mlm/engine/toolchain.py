"""What there is to build an engine with: compilers, toolkits, drivers, package managers."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from mlm.hardware.nvidia import read_cuda_version

Version = tuple[int, int]
System = Literal["linux", "darwin", "win32"]
Manager = Literal["apt", "dnf", "pacman", "zypper", "apk"]

_TIMEOUT_S = 20
_MANAGERS: dict[Manager, str] = {
    "apt": "apt install",
    "dnf": "dnf install",
    "pacman": "pacman -S",
    "zypper": "zypper install",
    "apk": "apk add",
}
_VERSION = re.compile(r"(\d+)\.(\d+)")
_GCC = re.compile(r"\([^)]*\) (\d+)\.(\d+)")
_NVCC = re.compile(r"release (\d+)\.(\d+)")
_ICD_FOLDERS = ("usr/share/vulkan/icd.d", "etc/vulkan/icd.d", "usr/local/share/vulkan/icd.d")
_HEADER_FOLDERS = ("usr/include", "usr/local/include")


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, and its version as far as it says."""

    path: Path
    version: Version | None = None


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What was found; None is what is not there."""

    system: System
    machine: str  # x86_64, arm64 …: of this Python, which under Rosetta is not that of the chip
    compiler: Tool | None = None  # for C++; a C compiler comes with every one
    is_gcc: bool = False
    nvcc: Tool | None = None
    cuda_driver: Version | None = None  # the newest CUDA that the NVIDIA driver can run
    rocm: Tool | None = None  # the folder
    glslc: Tool | None = None
    has_vulkan_headers: bool = False
    has_vulkan_driver: bool = False  # one for a GPU, not one that pretends on the CPU
    manager: Manager | None = None
    needs_sudo: bool = True
    uv: Path | None = None  # only where this environment has no pip

    def install_line(self, packages: Mapping[Manager, str]) -> str | None:
        """Return the command that installs ``packages`` here, None where nobody knows it."""
        if self.manager is None or self.manager not in packages:
            return None
        sudo = "sudo " if self.needs_sudo else ""
        return f"{sudo}{_MANAGERS[self.manager]} {packages[self.manager]}"


def find_toolchain(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Toolchain:
    """Return what this machine can build with; programs are asked for their versions."""
    system: System = "linux"
    if sys.platform == "darwin" or sys.platform == "win32":
        system = sys.platform
    compiler, is_gcc = _find_compiler(environ, system)
    return Toolchain(
        system=system,
        machine=platform.machine(),
        compiler=compiler,
        is_gcc=is_gcc,
        nvcc=_find_nvcc(environ, root),
        cuda_driver=None if system == "darwin" else read_cuda_version(),
        rocm=_find_rocm(environ, root),
        glslc=_find("glslc", environ),
        has_vulkan_headers=_has_vulkan_headers(environ, root),
        has_vulkan_driver=_has_vulkan_driver(root),
        manager=_find_manager(environ),
        needs_sudo=hasattr(os, "geteuid") and os.geteuid() != 0,
        uv=_find_uv(environ),
    )


def _which(name: str, environ: Mapping[str, str]) -> Path | None:
    found = shutil.which(name, path=environ.get("PATH", ""))
    return Path(found) if found else None


def _ask(path: Path) -> str:
    try:
        done = subprocess.run(
            [str(path), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _parse(pattern: re.Pattern[str], text: str) -> Version | None:
    match = pattern.search(text)
    return (int(match[1]), int(match[2])) if match else None


def _find(name: str, environ: Mapping[str, str]) -> Tool | None:
    path = _which(name, environ)
    return Tool(path) if path else None


def _find_compiler(environ: Mapping[str, str], system: System) -> tuple[Tool | None, bool]:
    """Return the C++ compiler that CMake will find, and whether it is GCC."""
    wanted = environ.get("CXX", "").split()[:1]
    for name in (*wanted, "c++", "g++", "clang++"):
        if (path := _which(name, environ)) is not None:
            text = _ask(path)
            if not text:  # /usr/bin/c++ of a Mac without the command line tools
                continue
            is_gcc = "Free Software Foundation" in text
            return Tool(path, _parse(_GCC if is_gcc else _VERSION, text)), is_gcc
    if system == "win32":  # CMake finds Visual Studio by this program, not by PATH
        folder = environ.get("ProgramFiles(x86)", r"C:\Program Files (x86)")
        finder = Path(folder, "Microsoft Visual Studio", "Installer", "vswhere.exe")
        if finder.exists():
            return Tool(finder), False
    return None, False


def _find_nvcc(environ: Mapping[str, str], root: Path) -> Tool | None:
    homes = [environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if environ.get(name)]
    places = [_which("nvcc", environ), *(Path(home, "bin", "nvcc") for home in homes)]
    places.append(root / "usr/local/cuda/bin/nvcc")
    for path in places:
        if path is not None and path.exists():
            return Tool(path, _parse(_NVCC, _ask(path)))
    return None


def _find_rocm(environ: Mapping[str, str], root: Path) -> Tool | None:
    folder = Path(environ.get("ROCM_PATH") or root / "opt/rocm")
    if not (folder / "bin/hipcc").exists() and _which("hipcc", environ) is None:
        return None
    try:
        text = (folder / ".info/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return Tool(folder, _parse(_VERSION, text))


def _has_vulkan_headers(environ: Mapping[str, str], root: Path) -> bool:
    folders = [root / folder for folder in _HEADER_FOLDERS]
    if sdk := environ.get("VULKAN_SDK"):
        folders += [Path(sdk, "include"), Path(sdk, "Include")]
    return any((folder / "vulkan/vulkan.h").exists() for folder in folders)


def _has_vulkan_driver(root: Path) -> bool:
    drivers = {path.stem for folder in _ICD_FOLDERS for path in (root / folder).glob("*.json")}
    return any("lvp" not in name and "swrast" not in name for name in drivers)


def _find_manager(environ: Mapping[str, str]) -> Manager | None:
    for manager in _MANAGERS:
        if _which(manager, environ) is not None:
            return manager
    return None


def _find_uv(environ: Mapping[str, str]) -> Path | None:
    """Return uv if it is what has to install: it makes environments without pip."""
    return None if find_spec("pip") is not None else _which("uv", environ)
