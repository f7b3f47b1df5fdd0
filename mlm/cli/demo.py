"""``mlm demo``: the offline tour."""

import time
from typing import TYPE_CHECKING

import typer

from mlm.cli._session import session, stdout

if TYPE_CHECKING:
    from mlm.demo.tour import Step

_WELCOME = """\
# The whole life of a model, on this machine, without a network.
# Every command is real, and so is its output. It takes half a minute,
# happens in a temporary folder, and leaves nothing behind."""

_FAREWELL = """\
# That was all of it, in {seconds:.0f} seconds. Now with a real model:
#
#   mlm recommend            which models suit this machine, and why
#   mlm download NAME        fetch the one you like, verified byte by byte
#   mlm chat NAME            talk to it
#   mlm serve NAME           offer it to your programs
#
# Something in the way? mlm doctor knows the fix. Everything else: mlm --help"""


EXAMPLES = {
    "mlm demo": "From choosing to statistics, with a tiny model that comes with mlm",
    "mlm demo > tour.txt": "Keep what it shows, to read it later",
}


def demo(ctx: typer.Context) -> None:
    """Show the whole life of a model, offline, in under a minute."""
    from mlm.demo.tour import STEPS, take_tour

    session(ctx)
    started = time.monotonic()

    def announce(number: int, step: "Step") -> None:
        _say(f"\n# {number} of {len(STEPS)}: {step.why}")
        _say(f"$ {step.typed}", style="bold")

    _say(_WELCOME)
    take_tour(announce)
    _say("\n" + _FAREWELL.format(seconds=time.monotonic() - started))


def _say(text: str, style: str = "green") -> None:
    """Print at once, before the next command does."""
    console = stdout()
    console.print(text, style=style, markup=False)
    console.file.flush()
