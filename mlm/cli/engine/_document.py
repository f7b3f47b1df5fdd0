"""Builds and recipes as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlm.engine.build import EngineBuild
    from mlm.engine.recipe import Recipe


def build_fields(build: "EngineBuild") -> dict[str, Any]:
    """Return what a build is."""
    return asdict(build) | {"folder": str(build.folder)}


def recipe_fields(recipe: "Recipe") -> dict[str, Any]:
    """Return how a build would be made."""
    return {
        "backend": recipe.backend,
        "cmake_args": list(recipe.cmake_args),
        "reasons": list(recipe.reasons),
        "missing": [asdict(missing) for missing in recipe.missing],
    }
