"""Checks that what mlm tells people to type can be typed."""

import shlex

import typer

from mlm.cli.app import app


def parses(command: str) -> bool:
    """Return whether ``command``, which begins with ``mlm``, is one that mlm understands."""
    words = shlex.split(command)
    assert words.pop(0) == "mlm"
    found = typer.main.get_command(app)
    context = found.make_context("mlm", list(words))
    while hasattr(found, "resolve_command"):  # a group
        typed = [*context._protected_args, *context.args]
        name, found, words = found.resolve_command(context, typed)
        context = found.make_context(name, list(words), parent=context)
    return True
