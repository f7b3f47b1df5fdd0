"""What a person wishes of a config that is to be planned: a profile, and a number of users."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mlm.planning.types import ProfileName

if TYPE_CHECKING:
    from mlm.planning.profiles import Profile

_MOST_USERS = 256  # llama.cpp's limit of slots

ProfileOpt = Annotated[
    ProfileName | None, typer.Option("--profile", help="What to aim at.", show_default="balanced")
]
UsersOpt = Annotated[
    int | None,
    typer.Option(
        "--users", min=1, max=_MOST_USERS, metavar="N", show_default=False,
        help="A slot for each of N users, if memory allows it.",
    ),
]  # fmt: skip


def choose_profile(name: ProfileName | None, users: int | None) -> "Profile":
    """Return the profile of that name, with a slot for each of so many users."""
    from mlm.planning.profiles import BALANCED, PROFILES

    profile = PROFILES[name] if name else BALANCED
    return replace(profile, n_parallel=users) if users else profile
