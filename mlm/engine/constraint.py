"""What an answer is held to: the grammar for a JSON format, for calls of tools, or for both.

Calls that must be made, and JSON, are held to from the first token on; thoughts may come before.
Where calls are only allowed, the model writes freely until it begins one, and is held to the
grammar from there on (`Trigger`).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mlm.engine.dialect import (
    ARGUMENTS_MARK,
    CALL_ID_MARK,
    LIST_MARK,
    PYTHON_TAG,
    TAG_CLOSE,
    TAG_OPEN,
)
from mlm.engine.gbnf import Grammar, either, json_literal, literal, until
from mlm.engine.messages import AnswerForm, CallStyle, JsonFormat, ToolChoice
from mlm.engine.schema_grammar import schema_rule
from mlm.engine.schema_words import SchemaError

_CALL_ID = "[a-zA-Z0-9]{9}"  # Mistral's models write no other ids
# The same white space twice: what the grammar of a bare call allows between its parts, and what
# its trigger recognises. llama.cpp aborts when a trigger finds what its grammar does not allow.
_SPACE_RULE, _SPACE_PATTERN = r'(" " | "\n" [ \t]{0,20})?', r"(?: |\n[ \t]{0,20})?"
_BARE_BEGINNING = (
    r'\{S(?:"type"S:S"function"S,S)?"name"S:S"'.replace("S", _SPACE_PATTERN)
)  # fmt: skip


class Trigger(msgspec.Struct, frozen=True):
    """Where the grammar of an answer begins to hold.

    ``pattern`` is a regular expression for llama.cpp and for Python. What follows it in the same
    token must be the beginning of one of ``openings``; else the answer stays free.
    """

    pattern: str
    openings: list[str]
    only_first: bool  # it counts only at the beginning of what is not a thought


class Constraint(msgspec.Struct, frozen=True):
    """A grammar, and where it begins to hold: None = from the first token on."""

    grammar: str
    trigger: Trigger | None = None
    root: str = "root"


class ConstraintError(Exception):
    """No grammar can be made of the request. ``field`` is to blame."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"'{field}': {reason}")
        self.field = field


def build_constraint(
    form: AnswerForm,
    tools: Sequence[dict[str, Any]],
    choice: ToolChoice,
    json_format: JsonFormat | None,
    *,
    has_call_ids: bool = False,
) -> Constraint | None:
    """Return what the answer to a request is held to; None when it is free.

    Raises:
        ConstraintError: a schema is not one, allows nothing, or asks for too much.
    """
    grammar = Grammar()
    kinds = []
    if json_format is not None and not (form.calls and choice.required):
        kinds.append(_schema(grammar, json_format.schema, json_format.field, json_format.strict))
    if form.calls:
        calls = _Calls(grammar, form.calls, tools, choice, has_call_ids)
        if not kinds and not choice.required:
            return Constraint(grammar.text(calls.rule()), calls.trigger())
        kinds.append(calls.rule())
    if not kinds:
        return None
    return Constraint(grammar.text(f"{_thoughts(grammar, form)} {either(kinds)}"))


def after_thoughts(grammar: str, form: AnswerForm) -> Constraint:
    """Return what holds an answer to ``grammar``, which a client wrote, once it has thought."""
    if not form.think_close:
        return Constraint(grammar)
    own = Grammar(prefix="mlm-thought-")
    added = own.text(f"{_thoughts(own, form)} root", name="mlm-root")
    return Constraint(f"{grammar}\n{added}", root="mlm-root")


def _thoughts(grammar: Grammar, form: AnswerForm) -> str:
    """Return what stands for the thoughts before an answer."""
    if not form.think_close:
        return ""
    thoughts = rf"{until(grammar, form.think_close)} [ \n]{{0,3}}"
    if form.begins_thinking:
        return thoughts
    return f"({literal(form.think_open)} {thoughts})?"


def _schema(grammar: Grammar, schema: object, field: str, strict: bool) -> str:
    try:
        return schema_rule(grammar, schema, strict=strict)
    except SchemaError as error:
        raise ConstraintError(field + error.where[:200], str(error)) from None


class _Calls:
    """The rules for calls in one style."""

    def __init__(
        self,
        grammar: Grammar,
        style: CallStyle,
        tools: Sequence[dict[str, Any]],
        choice: ToolChoice,
        has_call_ids: bool,
    ) -> None:
        self._grammar, self._style, self._choice = grammar, style, choice
        self._has_call_ids = has_call_ids
        self._arguments = dict(self._read(tools))

    def _read(self, tools: Sequence[dict[str, Any]]) -> Iterable[tuple[str, str]]:
        """Yield name and rule of each function that may be called."""
        for i, tool in enumerate(tools):
            function = tool["function"]
            name = str(function["name"])
            if self._choice.names is None or name in self._choice.names:
                field = f"tools[{i}].function.parameters"
                # As a function's arguments are an object, whatever its schema forgets to say.
                schema = {"type": "object", **function.get("parameters", {})}
                strict = bool(function.get("strict"))
                yield name, _schema(self._grammar, schema, field, strict)

    def rule(self) -> str:
        """Return what stands for one call, or for several where that is wished."""
        add, more = self._grammar.add, self._choice.parallel
        match self._style:
            case "list":
                item = add(self._objects('"arguments"', f'(", \\"id\\": \\"" {_CALL_ID} "\\"")?'))
                listed = f'{item} (", " {item})*' if more else item
                return add(f'{literal(LIST_MARK)} " "? "[" {listed} "]"')
            case "named":
                call_id = f"{literal(CALL_ID_MARK)} {_CALL_ID} " if self._has_call_ids else ""
                calls = [
                    f"{literal(LIST_MARK + name)} {call_id}{literal(ARGUMENTS_MARK)} {arguments}"
                    for name, arguments in self._arguments.items()
                ]
                call = add(either(calls))
                return add(f"{call}+" if more else call)
            case "bare":
                return add(self._bare())
            case _:
                item = add(self._objects('"arguments"', ""))
                call = add(f'{literal(TAG_OPEN)} "\\n"? {item} "\\n"? {literal(TAG_CLOSE)}')
                return add(f'{call} ("\\n"? {call})*' if more else call)

    def trigger(self) -> Trigger:
        """Return where the rule begins to hold when calls are only allowed."""
        names = list(self._arguments)
        match self._style:
            case "list":
                openings = [f'{gap}[{{"name": "{name}"' for name in names for gap in ("", " ")]
                return Trigger(re.escape(LIST_MARK), openings, only_first=False)
            case "named":
                return Trigger(re.escape(LIST_MARK), names, only_first=False)
            case "bare":
                return Trigger(_BARE_BEGINNING, [f'{name}"' for name in names], only_first=True)
            case _:
                openings = [f'{gap}{{"name": "{name}"' for name in names for gap in ("", "\n")]
                return Trigger(TAG_OPEN, openings, only_first=False)

    def _objects(self, key: str, tail: str) -> str:
        """Return what stands for one call as an object, spaced as models have been trained."""
        return either(
            f'"{{\\"name\\": " {json_literal(name)} {literal(f", {key}: ")} {arguments} {tail} "}}"'
            for name, arguments in self._arguments.items()
        )

    def _bare(self) -> str:
        space = self._grammar.add(_SPACE_RULE)

        def pair(key: str, value: str) -> str:
            return f'{json_literal(key)} {space} ":" {space} {value}'

        comma = f'{space} "," {space}'
        kind = pair("type", json_literal("function"))
        calls = either(
            f"{pair('name', json_literal(name))} {comma} {pair('parameters', arguments)}"
            for name, arguments in self._arguments.items()
        )
        return f'{literal(PYTHON_TAG)}? "{{" {space} ({kind} {comma})? {calls} {space} "}}"'
