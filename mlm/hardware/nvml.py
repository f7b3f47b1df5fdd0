"""Asking each NVIDIA GPU through NVML what this card, driver or binding may not know."""

from collections.abc import Callable, Iterator
from typing import Any

Ask = Callable[..., Any]


def each_gpu(nvml: Any) -> Iterator[tuple[str, Ask]]:
    """Yield the name of each GPU, and what asks it: ``ask("nvmlDeviceGetPowerUsage")``.

    ``ask`` returns None where there is no answer. ``nvml`` is the module pynvml, or one that acts
    like it. Without a driver there are no GPUs; one that is lost from the bus is left out.
    """

    def ask(question: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, question)(*arguments)
        except (nvml.NVMLError, AttributeError):
            return None

    def asking(handle: Any) -> Ask:
        return lambda question, *arguments: ask(question, handle, *arguments)

    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return
    try:
        for index in range(ask("nvmlDeviceGetCount") or 0):
            handle = ask("nvmlDeviceGetHandleByIndex", index)
            if handle is not None:
                name = ask("nvmlDeviceGetName", handle) or "NVIDIA GPU"
                yield _text(name), asking(handle)
    finally:
        ask("nvmlShutdown")


def _text(name: Any) -> str:
    """Return a name; older bindings answer in bytes."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
