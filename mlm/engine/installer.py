"""The commands that build and install the engine, with pip or with uv. Pure: only spelled here.

Pre-built wheels are never taken: they are compiled for somebody else's CPU, and come from indexes
that nobody here has chosen. Which index to use is the user's own configuration of pip or uv.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from mlm.engine.recipe import Recipe

PACKAGE = "llama-cpp-python"
WHEEL = "llama_cpp_python-*.whl"
_EXTRA = "llama"
_FALLBACK = ("llama-cpp-python>=0.3.36,<0.4",)  # for a source tree that was never installed


@dataclass(frozen=True, slots=True)
class Installer:
    """pip of the Python at ``python``, or ``uv`` where that has no pip."""

    python: Path
    uv: Path | None = None

    def build(self, requirement: str, folder: Path) -> list[str]:
        """Return the command that compiles ``requirement`` and leaves its wheel under ``folder``.

        Caches would give back the wheel of an earlier build, whatever flags that had.
        """
        if self.uv:
            cache, target = str(folder / "cache"), str(folder / "unused")
            flags = ["--verbose", "--no-deps", "--no-binary", PACKAGE, "--cache-dir", cache]
            return self._uv(*flags, "--target", target, requirement)
        flags = ["--no-deps", "--no-cache-dir", "--no-binary", PACKAGE, "--wheel-dir", str(folder)]
        return self._pip("wheel", "--verbose", *flags, requirement)

    def install(self, requirements: Sequence[str]) -> list[str]:
        """Return the command that installs what is not there yet of ``requirements``."""
        return self._uv(*requirements) if self.uv else self._pip("install", *requirements)

    def replace(self, wheel: Path) -> list[str]:
        """Return the command that puts ``wheel`` in the place of what is installed, and only it."""
        if self.uv:
            return self._uv("--no-deps", "--offline", "--reinstall-package", PACKAGE, str(wheel))
        return self._pip("install", "--no-deps", "--no-index", "--force-reinstall", str(wheel))

    def one_line(self, recipe: Recipe, requirements: Sequence[str]) -> str:
        """Return a line for a shell that does the same without mlm."""
        engine = [text for text in requirements if text.startswith(PACKAGE)]
        others = [text for text in requirements if text not in engine]
        if self.uv:
            flags = ["--no-cache", "--no-binary", PACKAGE, "--reinstall-package", PACKAGE]
            commands = [self._uv(*flags, *requirements)]
        else:
            flags = ["--no-deps", "--no-cache-dir", "--force-reinstall", "--no-binary", PACKAGE]
            commands = [self._pip("install", *flags, *engine)]
            commands.append(self._pip("install", *join_requirements(others, _needs_of_engine())))
        environment = build_environment(recipe, {})
        if sys.platform == "win32":
            head = "".join(f"$env:{name}='{value}'; " for name, value in environment.items())
            return head + "; ".join("& " + _quote(command) for command in commands)
        head = "".join(f"{name}={shlex.quote(value)} " for name, value in environment.items())
        return head + " && ".join(_quote(command) for command in commands)

    def _pip(self, command: str, *words: str) -> list[str]:
        head = [str(self.python), "-m", "pip", command]
        return [*head, "--no-input", "--disable-pip-version-check", *words]

    def _uv(self, *words: str) -> list[str]:
        return [str(self.uv), "pip", "install", "--python", str(self.python), *words]


def build_environment(recipe: Recipe, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that steer the build; flags of the user's own come first."""
    flags = " ".join(filter(None, (environ.get("CMAKE_ARGS", ""), recipe.cmake_line)))
    return {"CMAKE_BUILD_PARALLEL_LEVEL": str(recipe.jobs), "CMAKE_ARGS": flags}


def find_requirements() -> list[str]:
    """Return what the extra ``llama`` asks for here, as requirement lines."""
    try:
        asked = distribution("mlm").requires or []
    except PackageNotFoundError:
        return list(_FALLBACK)
    return select_requirements(asked, extra=_EXTRA) or list(_FALLBACK)


def requirements_of(folder: Path) -> list[str]:
    """Return what the one distribution under ``folder`` asks for."""
    found = next(iter(folder.glob("*.dist-info")), None)
    return select_requirements(Distribution.at(found).requires or []) if found else []


def select_requirements(asked: Sequence[str], extra: str = "") -> list[str]:
    """Return those of ``asked`` that hold here and belong to ``extra``; none: to no extra."""
    from packaging.requirements import Requirement  # comes with huggingface-hub

    chosen = []
    for text in asked:
        requirement = Requirement(text)
        marker = requirement.marker
        belongs = "extra" in str(marker or "")
        if belongs == bool(extra) and (marker is None or marker.evaluate({"extra": extra})):
            requirement.marker = None
            chosen.append(str(requirement))
    return chosen


def join_requirements(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return all of ``ours``, and of ``theirs`` what is of another package."""
    from packaging.requirements import Requirement

    names = {Requirement(text).name for text in ours}
    return [*ours, *(text for text in theirs if Requirement(text).name not in names)]


def _needs_of_engine() -> list[str]:
    try:
        return select_requirements(distribution(PACKAGE).requires or [])
    except PackageNotFoundError:
        return ["numpy", "diskcache", "typing-extensions"]


def _quote(command: Sequence[str]) -> str:
    if os.name == "nt":
        return " ".join(f"'{word}'" if not word.isalnum() else word for word in command)
    return shlex.join(command)
