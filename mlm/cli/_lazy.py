"""A command group that imports a command's file only when that command is asked for."""

import sys
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup


class ReaderGone(Exception):
    """Nobody reads our output any more (`mlm list | head`); that is the reader's right."""


class LazyGroup(TyperGroup):
    """The command ``X`` of the package ``package`` is the function ``X`` in its module ``X``.

    A module that defines ``app`` instead is a group of its own. A trailing underscore keeps a
    name clear of Python's own words (``import_`` is the command ``import``).
    """

    package: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order in which help shows them."""
        return [module.removesuffix("_") for module in self.modules]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command called ``cmd_name``, imported now, or None."""
        for module in self.modules:
            if module.removesuffix("_") == cmd_name:
                return _load_command(self.package, module, cmd_name)
        return None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer would end with exit code 1 when the reader has gone."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # or the interpreter would find out, after everything
            return result
        except BrokenPipeError as error:
            raise ReaderGone from error


def _load_command(package: str, module: str, name: str) -> Any:
    loaded = import_module(f"{package}.{module}")
    if hasattr(loaded, "app"):
        command = typer.main.get_command(loaded.app)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(getattr(loaded, module))
        command = typer.main.get_command(app)
    command.name = name
    return command


def lazy_app(package: str, modules: tuple[str, ...], **options: Any) -> typer.Typer:
    """Return a Typer app whose commands are the ``modules`` of ``package``, imported on demand."""
    group = type("Group", (LazyGroup,), {"package": package, "modules": modules})
    app = typer.Typer(
        cls=group,
        add_completion=False,
        rich_markup_mode=None,  # help without rich: start-up is a third of what it would be
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )
    app.callback()(lambda: None)  # without callback or command Typer makes no group
    return app
