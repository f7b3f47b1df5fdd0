"""The overrides of the runtime config that `serve`, `chat`, `run`, `bench` and `plan` share."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from mlm.errors import UsageError
from mlm.planning.overrides import FlashAttention, KvType, Overrides, ResponseCachePolicy

_PANEL = "Runtime config"


def _option(flag: str, help: str, **more: Any) -> Any:
    return typer.Option(flag, help=help, show_default=False, rich_help_panel=_PANEL, **more)


def _parse_gpu_layers(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit():
        return int(text)
    raise UsageError(f"--gpu-layers {text} is neither a number nor 'all'", remedy="--gpu-layers 20")


_COUNT: dict[str, Any] = {"min": 1, "metavar": "N"}
_PARAMETERS: dict[str, Any] = {
    "n_ctx_slot": Annotated[
        int | None,
        _option("--ctx", "Tokens of a question with its answer.", **_COUNT),
    ],
    "n_parallel": Annotated[
        int | None, _option("--parallel", "Requests answered at the same time.", **_COUNT)
    ],
    "n_threads": Annotated[
        int | None, _option("--threads", "CPU threads to compute with.", **_COUNT)
    ],
    "n_batch": Annotated[
        int | None, _option("--batch", "Most tokens that one step takes in.", **_COUNT)
    ],
    "n_ubatch": Annotated[
        int | None,
        _option("--ubatch", "Most tokens computed at once.", **_COUNT),
    ],
    "type_k": Annotated[
        KvType | None,
        _option("--type-k", "How the context's keys are kept: q8_0 takes half of f16."),
    ],
    "type_v": Annotated[KvType | None, _option("--type-v", "The same for its values.")],
    "n_gpu_layers": Annotated[
        Any,
        _option(
            "--gpu-layers",
            "How many layers of the model are on the GPU.",
            metavar="N|all",
            parser=_parse_gpu_layers,
        ),
    ],
    "flash_attn": Annotated[
        FlashAttention | None,
        _option("--flash-attn", "Flash attention, which saves memory; auto: where it works."),
    ],
    "response_cache": Annotated[
        ResponseCachePolicy | None,
        _option(
            "--response-cache",
            "Answers kept for the same question: those without chance, all, none.",
        ),
    ],
}


def to_flags(overrides: Overrides) -> list[str]:
    """Return the command-line words that mean ``overrides``."""
    words = []
    for name, annotation in _PARAMETERS.items():
        if (value := getattr(overrides, name)) is not None:
            (option,) = annotation.__metadata__
            words += [option.default, str(value)]  # typer keeps the first name there
    return words


def takes_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as one `Overrides` named ``overrides``."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "overrides"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _PARAMETERS.items()
    ]

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        overrides = Overrides(**{name: options.pop(name) for name in _PARAMETERS})
        command(*args, overrides=overrides, **options)

    vars(run)["__signature__"] = signature.replace(parameters=[*own, *added])
    run.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    del vars(run)["__wrapped__"]  # or typer would read the hints of the command itself
    return run
