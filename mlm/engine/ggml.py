"""What ggml itself says of the back ends and devices that a build has. For a child process only."""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_KINDS = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accelerator"}  # ggml_backend_dev_type, ggml-backend.h
_NAMES = {  # of the registries, in mlm's words
    "CPU": "cpu",
    "CUDA": "cuda",
    "ROCm": "rocm",
    "HIP": "rocm",
    "MUSA": "musa",
    "Metal": "metal",
    "MTL": "metal",
    "Vulkan": "vulkan",
    "SYCL": "sycl",
}
_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


def open_libraries(folder: Path, names: Iterable[str]) -> list[ctypes.CDLL]:
    """Return those of a build's libraries that are there.

    Raises:
        OSError: one cannot be loaded.
    """
    paths = [folder / f"{head}{name}{_SUFFIX}" for name in names for head in ("lib", "")]
    return [ctypes.CDLL(str(path)) for path in paths if path.exists()]


class Registry:
    """ggml's list of back ends. Their libraries are loaded: drivers are asked, which can crash."""

    def __init__(self, folder: Path) -> None:
        """Use the libraries in ``folder``.

        Raises:
            OSError: they cannot be loaded.
        """
        self._libraries = open_libraries(folder, ("ggml", "ggml-base"))

    def version(self) -> str | None:
        """Return ggml's version and the commit it was built from, as far as it knows."""
        texts = [self._call(name, ctypes.c_char_p) for name in ("ggml_version", "ggml_commit")]
        return " ".join(text.decode() for text in texts if text) or None

    def backends(self) -> list[str]:
        """Return the back ends of the build, whether there is hardware for them or not."""
        found = []
        for index in range(self._call("ggml_backend_reg_count", ctypes.c_size_t) or 0):
            handle = self._call("ggml_backend_reg_get", ctypes.c_void_p, ctypes.c_size_t(index))
            name = self._call("ggml_backend_reg_name", ctypes.c_char_p, ctypes.c_void_p(handle))
            text = name.decode() if name else "?"
            found.append(_NAMES.get(text, text.lower()))
        return found

    def devices(self) -> Iterator[dict[str, Any]]:
        """Yield name, description, kind and memory of each device that the build can use now."""
        for index in range(self._call("ggml_backend_dev_count", ctypes.c_size_t) or 0):
            found = self._call("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t(index))
            handle = ctypes.c_void_p(found)
            free, total = ctypes.c_size_t(), ctypes.c_size_t()
            memory = (handle, ctypes.byref(free), ctypes.byref(total))
            self._call("ggml_backend_dev_memory", None, *memory)
            kind = self._call("ggml_backend_dev_type", ctypes.c_int, handle)
            yield {
                "name": self._text("ggml_backend_dev_name", handle),
                "description": self._text("ggml_backend_dev_description", handle),
                "kind": _KINDS.get(kind, "other"),
                "memory_total": total.value or None,
                "memory_free": free.value if total.value else None,
            }

    def cpu_buffer_type(self) -> int | None:
        """Return the kind of buffer that is plain main memory."""
        found: int | None = self._call("ggml_backend_cpu_buffer_type", ctypes.c_void_p)
        return found

    def _text(self, function: str, handle: ctypes.c_void_p) -> str:
        text = self._call(function, ctypes.c_char_p, handle)
        return text.decode("utf-8", "replace") if text else "?"

    def _call(self, name: str, result: Any, *arguments: Any) -> Any:
        """Return what a function of ggml answers; None where this build does not have it."""
        for library in self._libraries:
            function = getattr(library, name, None)
            if function is not None:
                function.restype = result
                return function(*arguments)
        return None
