"""A command group that imports a command's file only when that command is asked for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from mlm.cli._help import Command, HelpContext, example_block
from mlm.cli._near import unknown_command


class ReaderGone(Exception):
    """Nobody reads our output any more (`mlm list | head`); that is the reader's right."""


class LazyGroup(TyperGroup):
    """The command ``X`` of the package ``package`` is the function ``X`` in its module ``X``.

    A module that defines ``app`` instead is a group of its own. A trailing underscore keeps a
    name clear of Python's own words (``import_`` is the command ``import``).
    """

    package: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    examples: Mapping[str, str] = {}
    context_class = HelpContext

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order in which help shows them."""
        return [module.removesuffix("_") for module in self.modules]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command called ``cmd_name``, imported now, or None."""
        for module in self.modules:
            if module.removesuffix("_") == cmd_name:
                return _load_command(self.package, module, cmd_name)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that ``args`` begin with.

        Raises:
            UsageError: there is none; it says which one was perhaps meant.
        """
        there = self.list_commands(ctx)
        if args[0] not in there and not args[0].startswith("-"):
            raise unknown_command(ctx.command_path, args[0], there)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        formatter.write(example_block(self.examples, formatter.width))

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the words of a command line; ``--help`` is printed here."""
        with _whose_reader_may_leave():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _whose_reader_may_leave():
            return super().invoke(ctx)


@contextmanager
def _whose_reader_may_leave() -> Iterator[None]:
    """Let typer not know of a reader that has gone: it would end with exit code 1."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


def _load_command(package: str, module: str, name: str) -> Any:
    loaded = import_module(f"{package}.{module}")
    command: Any  # typer says less of it than there is
    if hasattr(loaded, "app"):
        command = typer.main.get_command(loaded.app)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name, cls=Command)(getattr(loaded, module))
        command = typer.main.get_command(app)
        command.examples = getattr(loaded, "EXAMPLES", {})
    command.name = name
    return command


def lazy_app(
    package: str, modules: tuple[str, ...], examples: Mapping[str, str] = {}, **options: Any
) -> typer.Typer:
    """Return a Typer app whose commands are the ``modules`` of ``package``, imported on demand."""
    group = type(
        "Group", (LazyGroup,), {"package": package, "modules": modules, "examples": examples}
    )
    app = typer.Typer(
        cls=group,
        add_completion=False,
        rich_markup_mode=None,  # help without rich: start-up is a third of what it would be
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **{"no_args_is_help": True} | options,
    )
    app.callback()(lambda: None)  # without callback or command Typer makes no group
    return app
