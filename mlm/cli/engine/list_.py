"""``mlm engine list``: which build is installed, and which ones this machine could have."""

from typing import TYPE_CHECKING

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._session import print_document, print_text, session

if TYPE_CHECKING:
    from mlm.engine.build import EngineBuild
    from mlm.engine.recipe import Recipe


EXAMPLES = {
    "mlm engine list": "What is installed, and what could be built here",
    "mlm engine list --json": "The same for a script",
}


def list_(ctx: typer.Context, as_json: JsonOpt = False) -> None:
    """Show the installed engine, and which ones could be built for this machine."""
    from mlm.cli.engine._document import build_fields, recipe_fields
    from mlm.engine.build import describe_build
    from mlm.engine.recipe import all_recipes
    from mlm.engine.toolchain import find_toolchain
    from mlm.errors import EngineError
    from mlm.hardware.cached import cached_hardware

    build, problem = None, None
    try:
        build = describe_build()
    except EngineError as error:
        problem = error.message
    hardware = cached_hardware(session(ctx).settings.home.cache)
    recipes = all_recipes(hardware, find_toolchain())
    if as_json:
        payload = {
            "installed": build_fields(build) if build else None,
            "problem": problem,
            "available": [recipe_fields(recipe) for recipe in recipes],
        }
        print_document("engine.list", payload)
        return
    print_text("\n\n".join([_installed(build, problem), _available(recipes, build)]))


def _installed(build: "EngineBuild | None", problem: str | None) -> str:
    from mlm.cli._columns import align, wrap
    from mlm.units import format_size

    if build is None:
        return wrap(f"{problem}. To get one: mlm engine install")
    rows = [
        ("engine", f"llama-cpp-python {build.version}, ggml {build.ggml or '?'}"),
        ("folder", str(build.folder)),
        ("compiler", build.compiler or "unknown"),
        ("back ends", " ".join(build.backends)),
    ]
    for device in build.devices:
        memory = f", {format_size(device.memory_free)} free" if device.memory_free else ""
        rows.append(("device", f"{device.name}: {device.description}{memory}"))
    lines = [align(rows), wrap(" ".join(build.cpu_features), indent="cpu        ")]
    if build.amx == "miscompiled":
        lines.append("amx        not used: this compiler gets it wrong")
    return "\n".join(lines)


def _available(recipes: "list[Recipe]", build: "EngineBuild | None") -> str:
    from mlm.cli._columns import wrap

    lines = ["FOR THIS MACHINE"]
    for index, recipe in enumerate(recipes):
        words = ["the best choice"] if index == 0 else []
        if build and recipe.backend in build.backends:
            words.append("installed")
        words += recipe.reasons
        words += [f"needs {missing.what}: {missing.fix}" for missing in recipe.missing]
        text = "; ".join(words) or f"mlm engine install --backend {recipe.backend}"
        lines.append(wrap(text, indent=f"{recipe.backend:8}"))
    return "\n".join(lines)
