"""What is wrong or doubtful about a chat template: chats are rendered with it in the sandbox."""

import re
from collections.abc import Iterator
from typing import Any

from mlm.engine.sandbox import Sandbox, SandboxError
from mlm.gguf.finding import Finding, error, info, warn
from mlm.gguf.vocabulary import Vocabulary

_SYSTEM, _FIRST, _ANSWER, _SECOND = "Vxsystem", "Vxfirst", "Vxanswer", "Vxsecond"
_TOOL = "vx_weather"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": _TOOL,
            "description": "Tell the weather.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
_OTHER = "use another conversion of this model, or one with a corrected template"

Messages = list[dict[str, Any]]


def lint_template(template: str | None, vocabulary: Vocabulary, *, adds_bos: bool) -> list[Finding]:
    """Return what is to be said of the template of a model that talks.

    ``adds_bos``: the tokenizer puts the bos token before every text by itself.
    """
    if template is None:
        what = "it has no chat template"
        return [info("template-missing", what, "mlm talks to it in ChatML, or as in a transcript")]
    sandbox = Sandbox(template, bos_text=vocabulary.text("bos"), eos_text=vocabulary.text("eos"))
    try:
        return list(_Trial(sandbox, template, vocabulary, adds_bos).findings())
    finally:
        sandbox.stop()


def _say(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


class _Trial:
    """A template under test."""

    def __init__(
        self, sandbox: Sandbox, template: str, vocabulary: Vocabulary, adds_bos: bool
    ) -> None:
        self._sandbox = sandbox
        self._template = template
        self._vocabulary = vocabulary
        self._adds_bos = adds_bos

    def findings(self) -> Iterator[Finding]:
        try:
            first = self._render([_say("user", _FIRST)])
        except SandboxError as failure:
            yield error("template-broken", str(failure), "nobody can chat with this model", _OTHER)
            return
        lost = list(self._lost("one question", first, [_FIRST]))
        if lost:
            yield from lost
            return
        yield from self._bos(first)
        yield from self._system()
        yield from self._turns()
        if "tools" in self._template:
            yield from self._tools()

    def _render(self, messages: Messages, tools: Messages | None = None) -> str:
        return self._sandbox.render(messages, tools, {})

    def _lost(self, case: str, text: str, marks: list[str]) -> Iterator[Finding]:
        """Say which of ``marks`` are not in ``text``, in their order."""
        position = 0
        for mark in marks:
            position = text.find(mark, position)
            if position < 0:
                yield error(
                    "template-drops",
                    f"of {case}, the prompt lacks what was said as {mark[2:]!r}",
                    "the model never reads it",
                    _OTHER,
                )
                return

    def _bos(self, text: str) -> Iterator[Finding]:
        bos = self._vocabulary.text("bos")
        if not bos or not text.startswith(bos):
            return
        if text.removeprefix(bos).startswith(bos):
            yield warn(
                "bos-twice", f"the template begins with {bos} twice", "answers are worse", _OTHER
            )
        elif self._adds_bos:
            yield info(
                "bos-twice",
                f"both the template and the tokenizer begin with {bos}",
                "mlm takes one of them away; other programs may not",
            )

    def _system(self) -> Iterator[Finding]:
        messages = [_say("system", _SYSTEM), _say("user", _FIRST)]
        try:
            text = self._render(messages)
        except SandboxError as failure:
            yield warn(
                "template-system",
                f"with a system message: {failure}",
                "requests with one are refused",
                "leave the system message out",
            )
            return
        if _SYSTEM not in text:
            yield warn(
                "template-system",
                "the system message is not in the prompt",
                "instructions given there have no effect",
                "say them in the first user message",
            )

    def _turns(self) -> Iterator[Finding]:
        """A second question: the first answer has to be there, and to end as answers end."""
        messages = [_say("user", _FIRST), _say("assistant", _ANSWER), _say("user", _SECOND)]
        try:
            text = self._render(messages)
        except SandboxError as failure:
            yield error(
                "template-turns",
                f"with an answer and a second question: {failure}",
                "a conversation ends after the first answer",
                _OTHER,
            )
            return
        lost = list(self._lost("a conversation", text, [_FIRST, _ANSWER, _SECOND]))
        yield from lost or self._end_of_turn(text)

    def _end_of_turn(self, text: str) -> Iterator[Finding]:
        after = text[text.index(_ANSWER) + len(_ANSWER) : text.rindex(_SECOND)].lstrip()
        ends = self._vocabulary.ends()
        if any(after.startswith(end) for end in ends):
            return
        marks = [mark for mark in self._vocabulary.special_tokens() if after.startswith(mark)]
        fix = "add it as a stop string, or use another conversion"
        if marks:
            mark = max(marks, key=len)
            yield error(
                "end-of-turn",
                f"the template ends an answer with {mark}, which ends none for llama.cpp",
                "answers run on into an invented next question",
                fix,
            )
        else:
            shown = re.sub(r"\s+", " ", after)[:20]
            yield warn(
                "end-of-turn",
                f"the template ends an answer with {shown!r}, which is no special token",
                "the model may not stop where it should",
                fix,
            )

    def _tools(self) -> Iterator[Finding]:
        call = {"type": "function", "id": "call00001",
                "function": {"name": _TOOL, "arguments": {"city": "Oslo"}}}  # fmt: skip
        asked = [_say("user", _FIRST)]
        used = [
            *asked,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": _TOOL, "tool_call_id": "call00001", "content": _ANSWER},
        ]
        for messages, case, mark in (
            (asked, "with tools", _TOOL),
            (used, "with the result of a tool", _ANSWER),
        ):
            why = "tools cannot be used with this model"
            try:
                text = self._render(messages, _TOOLS)
            except SandboxError as failure:
                yield warn("template-tools", f"{case}: {failure}", why, _OTHER)
                return
            if mark not in text:
                yield warn("template-tools", f"{case}: they are not in the prompt", why, _OTHER)
                return
