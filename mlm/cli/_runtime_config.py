"""The runtime config that a model is run with: its file, what was typed, or what is planned."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.planning.overrides import Overrides
from mlm.planning.types import RuntimeConfig

if TYPE_CHECKING:
    from mlm.hardware.types import Hardware
    from mlm.planning.types import ModelShape

# What no option of the command line overrides: it stays as the config file has it.
_FILE_ONLY = (
    "n_cpu_moe", "use_mmap", "use_mlock", "kv_unified", "swa_full", "embedding", "vision",
    "pooling", "cache_ttl_s", "max_tokens", "profile", "prefix_cache",
)  # fmt: skip


def choose_config(
    path: Path, shape: "ModelShape", hardware: "Hardware", overrides: Overrides
) -> RuntimeConfig:
    """Return the config in the file ``path``, where there is one, else a planned one.

    ``overrides`` win over both; what follows from them is planned anew.

    Raises:
        ConfigError: the file cannot be meant.
        UsageError: the overrides cannot.
    """
    from mlm.planning.config_file import read_config
    from mlm.planning.runtime import plan_runtime

    if not path.exists():
        return plan_runtime(shape, hardware, overrides)
    saved = read_config(path)
    if overrides == Overrides():
        return saved
    if not saved.vision:
        shape = replace(shape, projector=None)
    merged = plan_runtime(shape, hardware, _fill(overrides, saved))
    kept = {name: getattr(saved, name) for name in _FILE_ONLY}
    if overrides.n_threads is None:
        kept["n_threads_batch"] = saved.n_threads_batch
    return replace(merged, **kept)


def _fill(overrides: Overrides, saved: RuntimeConfig) -> Overrides:
    """Return ``overrides`` with everything that was not typed as ``saved`` has it."""
    typed = {name: value for name, value in asdict(overrides).items() if value is not None}
    return Overrides(
        **{field.name: getattr(saved, field.name) for field in fields(Overrides)} | typed
    )
