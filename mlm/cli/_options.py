"""Options that several commands share, each declared once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mlm.completion.names import complete_installed, complete_known, complete_machine
from mlm.engine.ranges import MAX_TOKENS, SEED_RANGE


def finite(value: float | None) -> float | None:
    """Refuse what Python takes for a number but nobody can mean: nan, inf."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number")
    return value


def _countable(limit: int) -> int:
    """Return ``limit`` as SQLite can count: to 2^63 - 1, and one more is asked for."""
    return min(limit, 2**62)


_REF = "qwen3-8b, qwen3-8b:Q4_K_M, org/repo:Q4_K_M, org/repo/file.gguf or ./file.gguf"
_REFS = "qwen3-8b, qwen3-8b:Q4_K_M, org/repo:Q4_K_M or org/repo/file.gguf"

RefArg = Annotated[
    str,
    typer.Argument(metavar="REF", help=_REF, show_default=False, autocompletion=complete_known),
]
RefsArg = Annotated[
    list[str],
    typer.Argument(metavar="REF...", help=_REFS, show_default=False, autocompletion=complete_known),
]
# The same for commands that need the model on this machine: a tab offers no others.
InstalledRefArg = Annotated[
    str,
    typer.Argument(metavar="REF", help=_REF, show_default=False, autocompletion=complete_installed),
]
InstalledRefsArg = Annotated[
    list[str],
    typer.Argument(
        metavar="REF...", help=_REFS, show_default=False, autocompletion=complete_installed
    ),
]
# The machine to plan for, where it is not this one.
HardwareOpt = Annotated[
    str | None,
    typer.Option(
        "--hardware",
        metavar="PRESET|FILE",
        help="Another machine: '2x RTX 4090, 128GB', or a file of mlm hardware --json.",
        show_default=False,
        autocompletion=complete_machine,
    ),
]
MemoryOpt = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Plan with so much main memory, not with what is free: 16GB.",
        show_default=False,
    ),
]
ManifestOpt = Annotated[
    Path,
    typer.Option(
        "--file", metavar="FILE", help="What this machine should have; mlm.lock lies beside it."
    ),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
YesOpt = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

# What a question may say about its answer; the server's defaults are OpenAI's.
SystemOpt = Annotated[
    str | None,
    typer.Option(
        "--system",
        metavar="TEXT",
        help="What the model is told first: who it is, how to answer.",
        show_default=False,
    ),
]
LimitOpt = Annotated[
    int,
    typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.", callback=_countable),
]


def _at_most(most: int) -> Callable[[int | None], int | None]:
    """Return what refuses greater numbers, which no --help need mention."""

    def check(number: int | None) -> int | None:
        if number is not None and abs(number) > most:
            raise typer.BadParameter(f"{number} is too large a number")
        return number

    return check


MaxTokensOpt = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        min=1,
        metavar="N",
        help="End an answer after so many tokens.",
        callback=_at_most(MAX_TOKENS),
        show_default=False,
    ),
]
TemperatureOpt = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0,
        max=2,
        metavar="X",
        help="How freely it chooses words: 0 always takes the likeliest.",
        show_default=False,
        callback=finite,
    ),
]
SeedOpt = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Same seed, same answer, on the same set-up.",
        callback=_at_most(SEED_RANGE[1]),
        show_default=False,
    ),
]
