"""Commands that do several things: what failed of them is part of their document, not its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from mlm.cli._session import print_error
from mlm.errors import MlmError


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one of the things that were asked for."""

    ref: str
    error: MlmError

    def row(self) -> dict[str, Any]:
        """Return it as an item of ``errors`` in a JSON document."""
        return {
            "ref": self.ref,
            "code": self.error.code,
            "message": self.error.message,
            "remedy": self.error.remedy,
            "exit_code": int(self.error.exit_code),
        }


def exit_with(failures: Sequence[Failure], *, as_json: bool) -> None:
    """Print what failed, unless the document has it, and exit with the code of the first, if any.

    Raises:
        typer.Exit: something did fail.
    """
    if not failures:
        return
    if not as_json:
        for failure in failures:
            print_error(failure.error, as_json=False)
    raise typer.Exit(failures[0].error.exit_code)
