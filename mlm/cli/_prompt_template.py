"""A prompt with places for what changes: ``--template FILE``.

A file of text in which ``{{name}}`` stands for a variable, and nothing else means anything: it
cannot loop, compute or read. What is put in is not looked at again. Settings may come first, as
YAML between two lines ``---``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlm.errors import UsageError

INPUT = "input"  # the variable for what is piped, attached and asked
_PLACE = re.compile(r"\\\{\{|\{\{([^{}\n]*)\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_FENCE = "---"
_SETTINGS: dict[str, tuple[type, ...]] = {
    "system": (str,),
    "vars": (dict,),
    "schema": (str, dict),
    "temperature": (int, float),
    "max_tokens": (int,),
    "seed": (int,),
}


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """What a file of ``--template`` says."""

    source: str
    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # those of `_SETTINGS` that it has

    def fill(
        self, given: str, variables: Mapping[str, str], *, is_needed: bool = True
    ) -> tuple[str, str | None]:
        """Return the prompt and the system prompt with ``given`` as the input.

        Raises:
            UsageError: a variable is missing, or one has no place; or there is no input although it
                ``is_needed``.
        """
        system = self.settings.get("system")
        defaults = {name: str(value) for name, value in self.settings.get("vars", {}).items()}
        places = {*self._places(self.text), *self._places(system or "")}
        self._check(places, given, defaults, variables)
        if INPUT in places and is_needed and not given:
            raise UsageError(f"{self.source} needs an input", remedy="pipe a text into mlm run")
        values = {**defaults, **variables, INPUT: given}
        return _replaced(self.text, values), None if system is None else _replaced(system, values)

    def _places(self, text: str) -> list[str]:
        names = [found[1].strip() for found in _PLACE.finditer(text) if found[1] is not None]
        for name in names:
            if not _NAME.fullmatch(name):
                raise UsageError(
                    f"{self.source}: {{{{{name}}}}} is not the name of a variable",
                    remedy=r"write \{{ where braces are meant",
                )
        return names

    def _check(
        self,
        places: set[str],
        given: str,
        defaults: Mapping[str, str],
        variables: Mapping[str, str],
    ) -> None:
        for name in (*defaults, *variables):
            if name not in places or name == INPUT:
                raise UsageError(
                    f"{self.source} has no place for a variable '{name}'",
                    remedy=f"write {{{{{name}}}}} where it belongs",
                )
        if missing := sorted(places - {*defaults, *variables, INPUT}):
            words = " ".join(f"--var {name}=…" for name in missing)
            raise UsageError(f"{self.source} needs {', '.join(missing)}", remedy=f"add {words}")
        if given and INPUT not in places:
            raise UsageError(
                f"{self.source} has no place for what is piped, attached or asked",
                remedy="write {{input}} where it belongs",
            )


def parse_variables(words: Sequence[str]) -> dict[str, str]:
    """Return the variables that ``name=value`` words name.

    Raises:
        UsageError: one is not of this form.
    """
    variables = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not _NAME.fullmatch(name):
            raise UsageError(f"'{word}' is no variable", remedy="--var name=value")
        variables[name] = value
    return variables


def parse_template(text: str, path: Path) -> PromptTemplate:
    """Return the template in ``text``, which is that of ``path``.

    Raises:
        UsageError: its settings are not YAML, unknown, or of the wrong kind.
    """
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].strip() != _FENCE:
        return PromptTemplate(str(path), text.strip("\r\n"))
    ends = [i for i, line in enumerate(lines) if i and line.strip() == _FENCE]
    if not ends:
        raise UsageError(
            f"{path}: the settings do not end", remedy="write --- in a line of its own"
        )
    body = "".join(lines[ends[0] + 1 :]).strip("\r\n")
    settings = _read_settings("".join(lines[1 : ends[0]]), path)
    return PromptTemplate(str(path), body or f"{{{{{INPUT}}}}}", settings)


def _read_settings(text: str, path: Path) -> Mapping[str, Any]:
    from mlm import strictyaml

    settings = strictyaml.load(f"\n{text}", source=str(path)) or {}
    if not isinstance(settings, dict):
        raise UsageError(f"{path}: the settings are not names and values", remedy="system: …")
    for name, value in settings.items():
        if name not in _SETTINGS:
            known = ", ".join(_SETTINGS)
            raise UsageError(f"{path}: there is no setting '{name}'", remedy=f"it has {known}")
        if not isinstance(value, _SETTINGS[name]) or isinstance(value, bool):
            raise UsageError(f"{path}: '{name}' cannot be {value!r}", remedy="see mlm run --help")
    for name, value in settings.get("vars", {}).items():
        if isinstance(value, dict | list | None):
            raise UsageError(f"{path}: the variable '{name}' is no text", remedy=f"{name}: a text")
    return settings


def _replaced(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: "{{" if found[1] is None else values[found[1].strip()], text)
