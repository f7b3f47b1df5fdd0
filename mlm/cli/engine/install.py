"""``mlm engine install``: build the engine that suits this machine, and put it in place."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._confirm import insist
from mlm.cli._options import JsonOpt
from mlm.cli._session import Session, print_document, print_text, session
from mlm.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from mlm.engine.build import EngineBuild
    from mlm.engine.installer import Installer
    from mlm.engine.recipe import Recipe

_Backend = Literal["auto", "cpu", "cuda", "metal", "vulkan", "rocm"]


EXAMPLES = {
    "mlm engine install": "Build it for what this machine has",
    "mlm engine install --backend cuda --yes": "For NVIDIA GPUs, without asking",
    "mlm engine install --print": "Only see the command, to run it yourself",
}


def install(
    ctx: typer.Context,
    backend: Annotated[
        _Backend, typer.Option("--backend", help="What models run on; auto: what is here.")
    ] = "auto",
    only_print: Annotated[
        bool, typer.Option("--print", help="Only print the command that would do it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Build llama.cpp for this machine's CPU or GPU, try the build, and install it.

    It is compiled here, which takes minutes. What is installed stays until the new build has
    proved itself.
    """
    from mlm.engine.installer import Installer
    from mlm.engine.recipe import choose_recipe
    from mlm.engine.toolchain import find_toolchain
    from mlm.hardware.cached import cached_hardware

    run, tools = session(ctx), find_toolchain()
    recipe = choose_recipe(cached_hardware(run.settings.home.cache), tools, backend)
    installer = Installer(Path(sys.executable), tools.uv)
    for reason in recipe.reasons:
        run.note(f"{recipe.backend}: {reason}")
    build = None
    if only_print:
        for missing in recipe.missing:
            run.note(f"first install {missing.what}: {missing.fix}")
    else:
        build = _install(run, recipe, installer, yes=yes)
    _report(recipe, installer, build, as_json=as_json)


def _install(run: Session, recipe: "Recipe", installer: "Installer", *, yes: bool) -> "EngineBuild":
    from mlm.cli._waiting import waiting_for
    from mlm.demo.question import DEMO_QUESTION
    from mlm.engine.install import CannotBuild, Workshop, install_engine

    if recipe.missing:
        raise CannotBuild(recipe)
    if run.settings.offline:
        raise NetworkError(
            "the engine's source comes from a package index, and --offline forbids to ask one",
            remedy="mlm engine install --print shows what to run where there is a network",
        )
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "this would compile the engine for minutes and replace the installed one",
                remedy="repeat with --yes, or look first with --print",
            )
        insist(f"Compile and install the engine for {recipe.backend}?")
    workshop = Workshop(run.settings.home, DEMO_QUESTION, run.note)
    with waiting_for(run, f"making an engine for {recipe.backend}, which takes minutes"):
        return install_engine(recipe, installer, workshop)


def _report(
    recipe: "Recipe", installer: "Installer", build: "EngineBuild | None", *, as_json: bool
) -> None:
    from mlm.cli.engine._document import build_fields, recipe_fields
    from mlm.engine.installer import find_requirements

    command = installer.one_line(recipe, find_requirements())
    if as_json:
        payload: dict[str, Any] = recipe_fields(recipe) | {
            "command": command,
            "build": build_fields(build) if build else None,
        }
        print_document("engine.install", payload)
    elif build is None:
        print_text(command)
    else:
        has = "/".join(build.backends)
        print_text(f"llama-cpp-python {build.version} for {has} is installed and answers rightly")
