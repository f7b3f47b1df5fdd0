"""Which build of llama.cpp this is."""

from pathlib import Path

import llama_cpp
from llama_cpp import llama_cpp as C

ENGINE = f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"
VERSION = str(llama_cpp.__version__)
LIBRARIES = Path(str(llama_cpp.__file__)).parent / "lib"


def system_info() -> str:
    """Return what llama.cpp says of its build and this CPU."""
    return str(C.llama_print_system_info().decode("utf-8", "replace"))


def can_offload() -> bool:
    """Return whether the build has a back end for GPUs."""
    return bool(C.llama_supports_gpu_offload())
