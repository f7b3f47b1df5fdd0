"""Which CPU each of llama.cpp's threads runs on."""

import ctypes
import os
from typing import Any

from mlm.engine.ggml import open_libraries
from mlm.engine.llama.library import LIBRARIES
from mlm.engine.messages import WorkerConfig

_MAX_THREADS = 512  # GGML_MAX_N_THREADS


class _PoolParams(ctypes.Structure):
    """``ggml_threadpool_params`` of ggml.h."""

    _fields_ = [
        ("cpumask", ctypes.c_bool * _MAX_THREADS),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    ]


def pin_threads(context: Any, config: WorkerConfig) -> None:
    """Give each thread of ``context`` a CPU of its own, if there are as many CPUs (Linux).

    Beside other work, such as another worker, the kernel would have two of them share a CPU, where
    one spins in wait for the other. With fewer threads than CPUs nothing is pinned: those of
    another worker would be on the same few CPUs.
    """
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    is_one_each = config.n_threads == config.n_threads_batch == len(cpus)
    if not is_one_each or len(cpus) < 2 or max(cpus) >= _MAX_THREADS:
        return
    libraries = open_libraries(LIBRARIES, ("ggml-base", "ggml-cpu", "llama"))
    if len(libraries) != 3:
        return  # a build that chooses its CPU back end when it starts
    base, cpu, llama = libraries
    params = _PoolParams()
    base.ggml_threadpool_params_init(ctypes.byref(params), config.n_threads)
    params.strict_cpu = True
    for number in cpus:
        params.cpumask[number] = True
    cpu.ggml_threadpool_new.restype = ctypes.c_void_p
    pool = ctypes.c_void_p(cpu.ggml_threadpool_new(ctypes.byref(params)))
    llama.llama_attach_threadpool(ctypes.c_void_p(context), pool, pool)
