"""Options that several commands share, each declared once."""

from typing import Annotated

import typer

RefArg = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="qwen3-8b, qwen3-8b:Q4_K_M, org/repo:Q4_K_M, org/repo/file.gguf or ./file.gguf",
        show_default=False,
    ),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
