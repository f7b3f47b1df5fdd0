"""The weights of a file: how they are loaded, and what a load would take."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

from llama_cpp import llama_cpp as C

from mlm.engine.amx import refused_if_miscompiled
from mlm.engine.ggml import Registry
from mlm.engine.llama.library import LIBRARIES, system_info
from mlm.engine.llama.log import LoadError, LoadLog
from mlm.engine.llama.vocabulary import Vocabulary
from mlm.engine.messages import WorkerConfig

_LOAD_MODES = {  # by (use_mmap, use_mlock)
    (False, False): C.LLAMA_LOAD_MODE_NONE,
    (True, False): C.LLAMA_LOAD_MODE_MMAP,
    (False, True): C.LLAMA_LOAD_MODE_MLOCK,
    (True, True): C.LLAMA_LOAD_MODE_MMAP_MLOCK,
}


class Model:
    """The weights of one file, and its vocabulary."""

    def __init__(
        self, path: str, config: WorkerConfig, on_progress: Callable[[float], None], log: LoadLog
    ) -> None:
        def progress(fraction: float, _: object) -> bool:
            on_progress(fraction)
            return True

        params, self._kept_alive = model_params(config)
        params.progress_callback = C.llama_progress_callback(progress)
        self.handle = load_model(path, params, log)
        self.vocabulary = Vocabulary(C.llama_model_get_vocab(self.handle))
        self.n_ctx_train = int(C.llama_model_n_ctx_train(self.handle))
        self.n_params = int(C.llama_model_n_params(self.handle))
        template = C.llama_model_chat_template(self.handle, None)
        self.chat_template = template.decode("utf-8", "replace") if template else None


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override: where to put the tensors whose names match."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buft", ctypes.c_void_p)]


def model_params(config: WorkerConfig) -> tuple[Any, object]:
    """Return how llama.cpp shall load a model, and what must live as long as that."""
    params = C.llama_model_default_params()
    params.n_gpu_layers = config.n_gpu_layers
    params.load_mode = _LOAD_MODES[config.use_mmap, config.use_mlock]
    if not config.n_gpu_layers:
        # Otherwise each GPU that is there takes a context, and buffers to multiply large batches.
        params.split_mode, params.main_gpu = C.LLAMA_SPLIT_MODE_NONE, -1
    if not config.n_cpu_moe:
        return params, None
    layers = "|".join(map(str, range(config.n_cpu_moe)))
    pattern = rf"blk\.({layers})\.ffn_(up|down|gate|gate_up)_(ch|)exps"  # as --n-cpu-moe has it
    memory = Registry(LIBRARIES).cpu_buffer_type()
    overrides = (_Override * 2)(_Override(pattern.encode(), memory), _Override(None, None))
    params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    return params, overrides


def load_model(path: str, params: Any, log: LoadLog) -> Any:
    C.llama_backend_init()
    with refused_if_miscompiled(system_info(), LIBRARIES):
        handle = C.llama_model_load_from_file(os.fsencode(path), params)
    if not handle:
        raise LoadError(log.reason)
    if C.llama_model_has_encoder(handle) and C.llama_model_has_decoder(handle):
        raise LoadError("encoder-decoder models are not supported")
    if C.llama_model_is_diffusion(handle):
        raise LoadError("diffusion models are not supported")
    return handle
