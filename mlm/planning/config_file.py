"""A runtime config as a YAML file that people read and edit: each value under its reason."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import mlm
from mlm import strictyaml
from mlm.errors import NotFoundError, UsageError
from mlm.planning.overrides import FlashAttention, KvType, ResponseCachePolicy
from mlm.planning.runtime import MAX_SLOTS, MAX_THREADS
from mlm.planning.types import Pooling, ProfileName, RuntimeConfig
from mlm.strictyaml import Document

MAX_TTL_S = 365 * 24 * 3600
_MAX_TOKENS = 2**31 - 1
_MAX_BYTES = 2**50
_MODEL = "model"
_REQUIRED = ("n_ctx", "n_parallel", "n_batch", "n_ubatch", "n_gpu_layers", "n_threads")
_COUNTS = {  # field -> (least, most)
    "n_ctx": (1, _MAX_TOKENS), "n_parallel": (1, MAX_SLOTS), "n_batch": (1, _MAX_TOKENS),
    "n_ubatch": (1, _MAX_TOKENS), "n_gpu_layers": (0, 513), "n_threads": (1, MAX_THREADS),
    "n_threads_batch": (1, MAX_THREADS), "n_cpu_moe": (0, 512), "max_tokens": (1, _MAX_TOKENS),
    "cache_ttl_s": (0, MAX_TTL_S), "prefix_cache": (0, _MAX_BYTES),
}  # fmt: skip
_WORDS: Mapping[str, tuple[str, ...]] = {
    "type_k": get_args(KvType), "type_v": get_args(KvType),
    "flash_attn": get_args(FlashAttention), "response_cache": get_args(ResponseCachePolicy),
    "pooling": get_args(Pooling), "profile": get_args(ProfileName),
}  # fmt: skip
_NULLABLE = frozenset(("max_tokens",))
_FIELDS = tuple(field.name for field in fields(RuntimeConfig) if field.name != "reasons")
_ADVICE = "Edit what you like"
_WRITER = re.compile(r"^# How mlm runs this model; written by mlm (\S+)\. ", re.MULTILINE)
_MAX_NAME_BYTES = 180  # of the 255 that file systems take: versions and drafts add to it
_UNSAFE = re.compile(r"[^\w.+@ -]")


class ConfigError(UsageError):
    """A config file says something that cannot be meant; the message names file, line and key."""

    code = "bad_config"


def config_path(config_dir: Path, model_id: str) -> Path:
    """Return where the config of a model is kept: ``org/repo:Q4`` in ``org--repo@Q4.yaml``."""
    name = _UNSAFE.sub("_", model_id.replace("/", "--").replace(":", "@"))
    if len(name.encode()) > _MAX_NAME_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        name = f"{name.encode()[:_MAX_NAME_BYTES].decode(errors='ignore')}-{digest}"
    return config_dir / f"{name}.yaml"


def config_fields(config: RuntimeConfig) -> dict[str, Any]:
    """Return the fields of ``config`` as the file holds them."""
    return {name: getattr(config, name) for name in _FIELDS}


def format_config(config: RuntimeConfig, model_id: str, *, advice: str = _ADVICE) -> str:
    """Return the text of a config file; ``advice`` says what a person may do with it."""
    lines = [
        f"# How mlm runs this model; written by mlm {mlm.__version__}. {advice}:",
        "# mlm serve, chat, run and bench use it, and what is typed on their command line wins.",
        f"{_MODEL}: {_quote(model_id)}",
    ]
    for name, value in config_fields(config).items():
        lines.append("")
        if reason := config.reasons.get(name):
            lines.append(f"# {_one_line(reason)}")
        lines.append(f"{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def read_config(path: Path) -> RuntimeConfig:
    """Return the config in the file ``path``; its reasons are the comments above its lines.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: a key is unknown, missing, or has a value that cannot be.
        YamlError: it is not YAML.
    """
    return load_config(path)[1]


def load_config(path: Path) -> tuple[str, RuntimeConfig]:
    """Return also the text of the file. Raises as `read_config`."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(strictyaml.MAX_BYTES + 1)  # one more, so that it is refused
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no config file {path}", remedy="mlm config generate"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return text, parse_config(text, source=str(path))


def parse_config(text: str, *, source: str) -> RuntimeConfig:
    """Return the config in ``text``; ``source`` names it in errors. Raises as `read_config`."""
    try:
        document = strictyaml.parse(text, source=source)
    except strictyaml.YamlError as error:
        error.remedy = "correct it, or write a new one: mlm config generate REF"
        raise
    values = document.value
    if not isinstance(values, dict):
        raise ConfigError(f"{document.where(())}: not a list of settings")
    for key in values:
        if key not in _FIELDS and key != _MODEL:
            raise _unknown(document, key, text)
    for key in _REQUIRED:
        if key not in values:
            raise ConfigError(f"{source}: {key} is missing", remedy="mlm config generate REF")
    values = {"n_threads_batch": values["n_threads"], **values}
    settings = {key: _checked(document, key, values[key]) for key in _FIELDS if key in values}
    config = RuntimeConfig(**settings, reasons=_comments(text))
    _check_together(document, config)
    return config


def _unknown(document: Document, key: str, text: str) -> ConfigError:
    near = get_close_matches(key, _FIELDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"settings are: {', '.join(_FIELDS)}"
    writer = _WRITER.search(text)
    if writer and writer[1] != mlm.__version__:
        hint = f"mlm {writer[1]} wrote the file, this is {mlm.__version__}: update mlm, or {hint}"
    return ConfigError(f"{document.where((key,))}: there is no setting '{key}'", remedy=hint)


def allowed_values(key: str) -> str:
    """Return in words what the setting ``key`` may be."""
    if key in _COUNTS:
        least, most = _COUNTS[key]
        words = f"a whole number from {least} to {most}"
    elif key in _WORDS:
        words = f"one of {', '.join(_WORDS[key])}"
    else:
        words = "true or false"
    return f"{words}, or null" if key in _NULLABLE else words


def _checked(document: Document, key: str, value: Any) -> Any:
    """Return ``value`` if ``key`` may have it."""
    if value is None and key in _NULLABLE:
        return None
    if key in _COUNTS:
        least, most = _COUNTS[key]
        is_right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    elif key in _WORDS:
        is_right = value in _WORDS[key]
    else:
        is_right = isinstance(value, bool)
    if not is_right:
        where, wanted = document.where((key,)), allowed_values(key)
        raise ConfigError(f"{where}: {key} is {value!r}, not {wanted}")
    return value


def _check_together(document: Document, config: RuntimeConfig) -> None:
    problems: list[tuple[str, Callable[[], bool], str]] = [
        ("n_ubatch", lambda: config.n_ubatch > config.n_batch, "is more than n_batch"),
        ("n_parallel", lambda: config.n_parallel > config.n_ctx, "leaves no token to a slot"),
        (
            "type_v",
            lambda: config.flash_attn == "off" and config.type_v not in ("f32", "f16", "bf16"),
            "needs flash_attn to be auto or on",
        ),
    ]
    for key, is_wrong, why in problems:
        if is_wrong():
            value = getattr(config, key)
            raise ConfigError(f"{document.where((key,))}: {key} {value} {why}")


def _comments(text: str) -> dict[str, str]:
    """Return the comment right above each setting."""
    reasons = {}
    above = ""
    for line in text.splitlines():
        name, colon, _ = line.partition(":")
        if line.startswith("# "):
            above = line[2:]
        elif colon and name in _FIELDS and above:
            reasons[name] = above
            above = ""
        else:
            above = ""
    return reasons


def _scalar(value: bool | int | str | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _quote(text: str) -> str:
    """Return ``text`` as a YAML string that is nothing else."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_one_line(escaped)}"'


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
