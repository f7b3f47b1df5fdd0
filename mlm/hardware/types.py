"""What a machine is made of. Sizes are bytes; what is not known is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

AcceleratorKind = Literal["cuda", "rocm", "metal", "vulkan", "sycl"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor, and how much of it this process may use."""

    name: str | None
    physical_cores: int | None
    logical_cores: int
    usable_cores: int  # min(ceil(cgroup quota), fast cores in the affinity), at least 1
    isa: tuple[str, ...]  # what llama.cpp has kernels for: avx2, avx512_vnni, amx_int8, neon, sve…
    performance_cores: int | None = None  # of the physical ones; all of them where all are alike
    efficiency_cores: int | None = None  # the others, which the fast ones would wait for
    threads_per_core: int | None = None  # 2 with SMT ("hyper-threading"), of the fastest cores
    quota: float | None = None  # CPUs' worth of time that a cgroup grants; below usable_cores,
    # threads are stopped for the rest of each period


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory. ``usable`` is what a new process could really get now."""

    total: int
    available: int
    limit: int | None  # the cgroup's, None when there is none below ``total``
    usable: int  # min(available, limit - (current - inactive_file))
    lockable: int | None = None  # what one process may lock there (RLIMIT_MEMLOCK)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One GPU or NPU that llama.cpp could use. ``index`` is dense, from 0, over all vendors."""

    index: int
    name: str
    kind: AcceleratorKind
    memory_total: int | None
    memory_free: int | None
    bandwidth_bytes_per_s: int | None
    compute_capability: str | None = None  # what kernels are built for: CUDA "8.9", ROCm "gfx1100"
    driver: str | None = None
    unified: bool = False  # shares main memory (Apple, APUs): its memory must not be counted twice
    source: str | None = None  # where its figures come from


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds ``path``."""

    path: Path
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How fast the installed engine computes on this CPU, as `mlm.engine.arithmetic` measured it.

    The mappings hold what ``n_threads`` threads do together.
    """

    reading: Mapping[str, float]  # type of weights -> bytes per second in decode …
    starting: Mapping[str, float]  # … and seconds for each matrix besides
    multiplying: Mapping[str, float]  # type of weights -> multiplications per second in prefill
    # "F16 128", type and head size of a cache -> seconds per head of queries and token
    attending: Mapping[str, float]
    step_s: float  # all threads have to wait for each other after each operation
    n_threads: int
    scaling: float  # of the work of so many cores, the share that they get done together
    n_cpus: float  # that the threads had: others may have taken some of their time


@dataclass(frozen=True, slots=True)
class Hardware:
    """Everything that planning knows of a machine: this one, or a pretended one."""

    cpu: Cpu
    memory: Memory
    accelerators: tuple[Accelerator, ...]
    memory_bandwidth_bytes_per_s: int | None
    fingerprint: str  # same machine, same string: key of cached measurements
    disks: tuple[Disk, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)  # figure -> where it came from
    arithmetic: Arithmetic | None = None  # None: no engine, or not measured
