"""An NVML that answers from a file, with the names, units and refusals of the module pynvml."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

CAPTURED = Path(__file__).parents[1] / "fixtures" / "hardware" / "nvml"


class FakeNvml:
    """Answers as a driver with the devices of ``fixture`` would; ``fails`` at start if asked to."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(
        self, fixture: str | None = None, *, fails: int | None = None, lost: set[int] | None = None
    ) -> None:
        text = (CAPTURED / fixture).read_text(encoding="utf-8") if fixture else '{"devices": []}'
        self._machine = json.loads(text)
        self._fails = fails
        self._lost = lost or set()
        self.is_open = False

    @property
    def devices(self) -> list[dict[str, Any]]:
        return self._machine["devices"]

    def nvmlInit(self) -> None:
        if self._fails is not None:
            raise pynvml.NVMLError(self._fails)
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._machine["driver"]

    def nvmlDeviceGetCount(self) -> int:
        return len(self._machine["devices"])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if index in self._lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return self.devices[index]

    def nvmlDeviceGetMigMode(self, board: dict[str, Any]) -> list[int]:
        return [1, 1] if self._known(board, "mig") else [0, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, board: dict[str, Any]) -> int:
        return len(board["mig"]["slices"])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, board: dict[str, Any], n: int) -> dict[str, Any]:
        piece = board["mig"]["slices"][n]
        if piece is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return piece

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:
        return handle["uuid"]

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> bytes:
        return handle["name"].encode()  # as older bindings have it

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> SimpleNamespace:
        memory = self._known(handle, "memory")
        return SimpleNamespace(**memory, used=memory["total"] - memory["free"])

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(gpu=self._known(handle, "load"))

    def nvmlDeviceGetPowerUsage(self, handle: dict[str, Any]) -> int:
        return self._known(handle, "power")  # milliwatts

    def nvmlDeviceGetTemperature(self, handle: dict[str, Any], sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._known(handle, "heat")

    def nvmlDeviceGetCudaComputeCapability(self, handle: dict[str, Any]) -> tuple[int, int]:
        return tuple(self._known(handle, "capability"))

    def nvmlDeviceGetMemoryBusWidth(self, handle: dict[str, Any]) -> int:
        return self._known(handle, "bus_width")

    def nvmlDeviceGetMaxClockInfo(self, handle: dict[str, Any], kind: int) -> int:
        assert kind == self.NVML_CLOCK_MEM
        return self._known(handle, "memory_clock")

    def _known(self, handle: dict[str, Any], name: str) -> Any:
        if handle.get(name) is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return handle[name]
